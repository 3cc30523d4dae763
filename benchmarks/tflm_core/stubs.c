/* What TFLM and newlib want of a system. */
void board_exit(int status);

void *__dso_handle;

void __cxa_pure_virtual(void) { board_exit(9); }

void abort(void)
{
  board_exit(9);
  for (;;) {
  }
}

int __aeabi_atexit(void *object, void (*destroy)(void *), void *handle)
{
  (void)object, (void)destroy, (void)handle;
  return 0;
}

void DebugLog(const char *format, ...) { (void)format; }
