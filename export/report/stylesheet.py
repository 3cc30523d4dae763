"""The style sheet of report.html: light, dark and print; narrow and wide."""

STYLE = """
:root { color-scheme: light dark; --page: #fcfcfb; --text: #1d2024; --soft: #5d646d; --line: #dfe2e5; --panel: #f3f4f5;
  --input: #1d2024; --keras: #d9790b; --ours: #1c6dd0; --stock: #9aa1aa; --ok: #14804a; --failed: #c4281b;
  --heat: 217, 121, 11; --shade: #0000004d; }
@media screen and (prefers-color-scheme: dark) { :root { --page: #15171a; --text: #e7e9eb; --soft: #9ea6af; --line: #33383e;
  --panel: #1e2125; --input: #e7e9eb; --keras: #f2a245; --ours: #62a6f8; --stock: #747c86; --ok: #4cc38a; --failed: #ff7b6e;
  --shade: #ffffff52; } }
* { box-sizing: border-box; }
html { scroll-padding-top: 1rem; -webkit-text-size-adjust: 100%; text-size-adjust: 100%; }
:focus-visible { outline: 2px solid var(--ours); outline-offset: 2px; border-radius: 2px; }
body { margin: 0; background: var(--page); color: var(--text); font: 16px/1.55 system-ui, sans-serif;
  overflow-wrap: break-word; }
main, footer { max-width: 66rem; margin: 0 auto; padding: 0 1.25rem; }
h1 { font-size: 2.1rem; line-height: 1.15; margin: 2.5rem 0 .5rem; overflow-wrap: anywhere; }
h2 { font-size: 1.3rem; margin: 3rem 0 .6rem; padding-top: .8rem; border-top: 1px solid var(--line); }
h3 { font-size: 1rem; margin: 1.4rem 0 .3rem; }
p { margin: .4rem 0 .8rem; max-width: 46rem; }
.lead { font-size: 1.15rem; max-width: 56rem; }
small, .soft { color: var(--soft); font-size: .82rem; }
th small { display: block; font-weight: 400; overflow-wrap: anywhere; }
nav { display: flex; flex-wrap: wrap; gap: .2rem 1.1rem; font-size: .9rem; margin: 1rem 0; }
a { color: var(--ours); text-decoration: none; } a:hover { text-decoration: underline; }
code { font: .85em ui-monospace, monospace; overflow-wrap: anywhere; }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 18rem), 1fr)); gap: .9rem; margin: 1.4rem 0; }
.card { background: var(--panel); border-radius: .6rem; padding: 1rem 1.15rem; }
.card b { display: block; font-size: 1.9rem; line-height: 1.25; font-variant-numeric: tabular-nums; }
.card span { color: var(--soft); font-size: .88rem; display: block; }
.ok { color: var(--ok); white-space: nowrap; } .failed { color: var(--failed); white-space: nowrap; font-weight: 600; }
.alarm { border-left: 4px solid var(--failed); padding: .1rem 1rem; background: var(--panel); }
.wide { overflow-x: auto; max-width: 100%; scrollbar-width: thin; scrollbar-color: var(--soft) var(--panel);
  background: linear-gradient(to right, var(--page) 40%, transparent) left / 2.5rem 100% no-repeat local,
    linear-gradient(to left, var(--page) 40%, transparent) right / 2.5rem 100% no-repeat local,
    linear-gradient(to right, var(--shade), transparent) left / .9rem 100% no-repeat scroll,
    linear-gradient(to left, var(--shade), transparent) right / .9rem 100% no-repeat scroll, var(--page); }
.wide td { max-width: 34rem; }
li, .card, .alarm, figcaption, .bars th, .lead { overflow-wrap: anywhere; }
table { border-collapse: collapse; min-width: 55%; font-size: .88rem; }
th, td { text-align: left; padding: .34rem .9rem .34rem 0; border-bottom: 1px solid var(--line); vertical-align: top; }
thead th { color: var(--soft); font-weight: 500; white-space: nowrap; }
.n { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
.bars { width: 100%; } .bars th { width: 30%; font-weight: 500; } .bars td { vertical-align: middle; }
.bars .n { width: 1%; padding-left: .9rem; padding-right: 0; }
.bars tr > * { border: 0; } .bars svg { display: block; }
@media screen and (max-width: 40rem) { .bars, .bars tbody { display: block; }
  .bars tr { display: grid; grid-template-columns: 1fr auto auto; align-items: baseline; margin-bottom: .5rem; }
  .bars tr > * { width: auto; padding: .1rem 0; } .bars td:nth-child(2) { order: 1; grid-column: 1 / -1; } }
rect.keras, circle.keras { fill: var(--keras); } rect.ours, circle.ours { fill: var(--ours); }
rect.stock, circle.stock { fill: var(--stock); }
svg text { fill: var(--soft); font-size: 12px; font-variant-numeric: tabular-nums; } .chart, .plot { display: block; }
.axes { padding: 0 2.2rem 0 5rem; max-width: 100%; } .axes .chart { overflow: visible; }
.axis { font-size: .78rem; color: var(--soft); margin: .3rem 0; max-width: none; } .axis.up { margin-left: -5rem; }
.axis.right { text-align: right; margin-right: -2.2rem; }
.axis.up::before { content: "↑ "; } .axis.right::after { content: " →"; }
.grid { stroke: var(--line); } .separator { stroke: var(--soft); stroke-dasharray: 7 5; }
polyline { fill: none; stroke-width: 2; stroke-linecap: round; stroke-linejoin: round; vector-effect: non-scaling-stroke; }
.input { stroke: var(--input); stroke-width: 3; stroke-opacity: .4; } .keras { stroke: var(--keras); }
.ours { stroke: var(--ours); } .stock { stroke: var(--stock); } rect { stroke: none; }
polyline.train { stroke: var(--keras); } polyline.prune { stroke: var(--ok); } polyline.quantize { stroke: var(--ours); }
polyline.other { stroke: var(--stock); }
polyline.layer0 { stroke: #1c6dd0; } polyline.layer1 { stroke: #d9790b; } polyline.layer2 { stroke: #14804a; }
polyline.layer3 { stroke: #b3479b; } polyline.layer4 { stroke: #8a6d3b; } polyline.layer5 { stroke: #2ba3b3; }
polyline.layer6 { stroke: #d0453a; } polyline.layer7 { stroke: #7a7f87; }
.plot .input { stroke-width: 4.5; } polyline.ours { stroke-dasharray: 5 5; }
polyline.validation { stroke-dasharray: 1 5; }
.legend { display: flex; flex-wrap: wrap; gap: .1rem 1.3rem; font-size: .88rem; margin: .4rem 0; padding: 0; list-style: none; }
.legend svg { margin-right: .45rem; vertical-align: middle; }
.samples { display: grid; gap: .5rem; margin-bottom: 1rem; grid-template-columns: repeat(9, minmax(4.6rem, 1fr)); }
.samples > figure:first-child { position: sticky; left: 0; background: var(--page); }
.samples img, .samples i { display: block; width: 100%; aspect-ratio: var(--ratio); margin-bottom: 3px; border-radius: 3px; }
.samples img { image-rendering: pixelated; background: var(--panel); }
.samples i { font-style: normal; font-size: .82rem; color: var(--soft); display: flex; align-items: center; }
.plots { display: grid; gap: 1rem 1.4rem; grid-template-columns: repeat(auto-fill, minmax(14rem, 1fr)); }
figure { margin: 0; break-inside: avoid; }
.whisker { stroke: var(--text); stroke-width: 1.5; }
.graphs { display: grid; gap: 1.5rem 2rem; grid-template-columns: repeat(auto-fit, minmax(min(100%, 25rem), 1fr)); }
.graph { display: block; width: 100%; max-width: 34rem; }
.graph text { text-anchor: middle; fill: var(--text); }
.graph .strong { font-weight: 600; } .graph .on { fill: #fff; } .graph .small { font-size: 10.5px; }
.graph .label { fill: var(--ours); font-weight: 600; }
.graph rect { stroke-width: 1.2; } .graph .port { fill: none; stroke: var(--text); }
.graph .operation { fill: var(--panel); stroke: var(--line); } .graph .tied { stroke: var(--ours); }
.graph .kernel { fill: #1c62b8; } .graph .flow { stroke: var(--soft); } .graph .use { stroke: var(--ours); stroke-width: 2; }
.graph path { fill: none; stroke-width: 1.3; } .graph .tip { fill: var(--soft); } .graph .head { fill: var(--ours); }
.key i { display: inline-block; width: 1.1rem; height: .9rem; vertical-align: -1px; } .key span { margin-left: 1rem; }
.key { font-size: .88rem; color: var(--soft); }
.kernels { display: flex; flex-wrap: wrap; gap: 1.4rem 2rem; align-items: flex-start; }
.kernels img { display: block; image-rendering: pixelated; max-width: 100%; height: auto; }
.filters { width: 100%; } .filters img { width: 100%; }
@media screen and (max-width: 40rem) { .filters img { image-rendering: auto; } }
.matrix { flex: 0 1 auto; max-width: 100%; } .matrix img { max-height: 30rem; min-width: 7rem; }
.matrix figcaption, .filters figcaption { max-width: 46rem; margin-top: .3rem; }
.matrix figcaption { width: min-content; min-width: 15rem; }
.heat { min-width: 0; border-collapse: separate; border-spacing: 2px; }
.heat th, .heat td { border: 0; padding: .3rem .7rem; border-radius: 3px; white-space: nowrap; }
.heat th { font-weight: 500; padding-left: 0; } .heat thead th { padding-left: .7rem; }
.heat td { font-variant-numeric: tabular-nums; min-width: 5rem; }
.heat td small { display: block; color: inherit; opacity: .8; }
.heat0 { background: var(--panel); color: var(--soft); } .heat1 { background: rgba(var(--heat), .14); }
.heat2 { background: rgba(var(--heat), .27); } .heat3 { background: rgba(var(--heat), .4); }
.heat4 { background: rgba(var(--heat), .53); } .heat5 { background: rgba(var(--heat), .66); }
td.heat5.failed { background: none; box-shadow: inset 0 0 0 2px var(--failed); }
figcaption { font-size: .78rem; color: var(--soft); font-variant-numeric: tabular-nums; }
.plot { background: var(--panel); border-radius: 4px; }
summary { cursor: pointer; color: var(--ours); margin: .8rem 0 .4rem; font-size: .9rem; }
footer { color: var(--soft); font-size: .82rem; padding-top: 2rem; padding-bottom: 2.5rem; }
@page { margin: 14mm; }
@media print { nav, details { display: none; } body { font-size: 9.5pt; line-height: 1.4; }
  main, footer { max-width: none; padding: 0; }
  h1 { margin-top: 0; } h2 { margin-top: 1.6rem; } h2, h3, h2 + p, h3 + p { break-after: avoid; }
  tr, .card, .chart, .graph, .samples, .key { break-inside: avoid; } .wide { overflow: visible; }
  table { font-size: .82rem; } .wide table { width: 100%; } th, td, code { overflow-wrap: anywhere; white-space: normal; }
  .heat td, .heat th { padding: .15rem .35rem; white-space: normal; }
  .wide td, .wide .ok, .wide .failed { white-space: normal; max-width: none; }
  .wide thead th { white-space: normal; } .wide tbody td { min-width: 4.6rem; }
  .wide th.n { min-width: 4.4rem; white-space: normal; }
  .wide td.n { min-width: 0; white-space: nowrap; } .wide .heat td { min-width: 3rem; }
  .heat tbody th { min-width: 5rem; } .heat small { font-size: .72rem; }
  .samples { grid-template-columns: repeat(9, 1fr); gap: .3rem; } .cards { grid-template-columns: repeat(3, 1fr); }
  .graphs { grid-template-columns: 1fr 1fr; gap: 1rem; } .plots { grid-template-columns: repeat(4, 1fr); gap: .6rem; }
  .matrix img { max-height: 16rem; min-width: 4rem; } a { color: inherit; }
  .card, .plot, .alarm, .key, .heat td, .samples, svg { print-color-adjust: exact; -webkit-print-color-adjust: exact; } }
"""
