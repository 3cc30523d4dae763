// Drives one page in Chromium: a JSON line [operation, arguments…] from stdin each, a JSON line with its result to stdout.
// Arguments: the folder that is served, the folder of node modules, Chromium, and a .wav file that its microphone hears.
import { createReadStream } from 'node:fs';
import { readFile } from 'node:fs/promises';
import http from 'node:http';
import { createRequire } from 'node:module';
import { extname, join, normalize } from 'node:path';
import { createInterface } from 'node:readline';

const [root, modules, executablePath, sound] = process.argv.slice(2);
const { chromium } = createRequire(join(modules, 'x'))('playwright-core');
const TYPES = { '.html': 'text/html', '.mjs': 'text/javascript', '.css': 'text/css', '.wasm': 'application/wasm' };

const server = http.createServer((request, response) => {
  const path = normalize(decodeURIComponent(new URL(request.url, 'http://localhost').pathname)).replace(/\/$/, '/index.html');
  const file = createReadStream(join(root, path));
  file.on('open', () => response.writeHead(200, { 'content-type': TYPES[extname(path)] ?? 'application/octet-stream' }));
  file.on('error', () => response.writeHead(404).end());
  file.pipe(response);
});
await new Promise((ready) => { server.listen(0, ready); });
const address = `http://localhost:${server.address().port}`;
const heard = sound ? ['--use-fake-device-for-media-stream', `--use-file-for-fake-audio-capture=${sound}`] : [];
const browser = await chromium.launch({ executablePath, args: ['--no-sandbox', ...heard] });
let page;
let troubles = [];

const operations = {
  async open(name, width, colorScheme, more = {}) {
    await page?.context().close();
    const context = await browser.newContext({ colorScheme, viewport: { width, height: 900 }, ...more });
    page = await context.newPage();
    troubles = [];
    page.on('pageerror', (error) => troubles.push(error.message));
    page.on('console', (message) => {
      const ours = message.text().startsWith('Canvas2D'); // the tests read pixels often
      if (['error', 'warning'].includes(message.type()) && !ours) troubles.push(message.text());
    });
    page.on('request', (request) => {
      if (!request.url().startsWith(address) && !/^(data|blob):/.test(request.url())) troubles.push(request.url());
    });
    await page.goto(`${address}/${name}/`);
    await page.waitForSelector('html[data-ready], #problems li', { state: 'attached', timeout: 20000 });
  },
  troubles: () => troubles,
  look: (expression) => page.evaluate(expression),
  click: (selector) => page.click(selector),
  press: (keys) => page.keyboard.press(keys),
  focus: (selector) => page.focus(selector),
  fill: async (selector, text) => {
    await page.fill(selector, text);
    await page.keyboard.press('Enter');
  },
  files: (...paths) => page.setInputFiles('#open', paths),
  async drop(path, name) {
    const bytes = [...await readFile(path)];
    await page.evaluate(([content, title]) => {
      const data = new DataTransfer();
      data.items.add(new File([new Uint8Array(content)], title));
      document.body.dispatchEvent(new DragEvent('drop', { dataTransfer: data, bubbles: true, cancelable: true }));
    }, [bytes, name]);
  },
  async drag(selector, from, to) {
    const target = page.locator(selector);
    await target.scrollIntoViewIfNeeded();
    const box = await target.boundingBox();
    const at = ([x, y]) => [box.x + x * box.width, box.y + y * box.height];
    await page.mouse.move(...at(from));
    await page.mouse.down();
    await page.mouse.move(...at(to), { steps: 5 });
    await page.mouse.up();
  },
  async tap(selector) {
    await page.locator(selector).scrollIntoViewIfNeeded();
    await page.tap(selector);
  },
  async save(selector, path) {
    const [download] = await Promise.all([page.waitForEvent('download'), page.click(selector)]);
    await download.saveAs(path);
    return download.suggestedFilename();
  },
  screenshot: (path) => page.screenshot({ path, fullPage: true }),
};

for await (const line of createInterface({ input: process.stdin })) {
  const [operation, ...values] = JSON.parse(line);
  try {
    console.log(JSON.stringify({ value: (await operations[operation](...values)) ?? null }));
  } catch (error) {
    console.log(JSON.stringify({ error: error.message }));
  }
}
await browser.close();
server.close();
