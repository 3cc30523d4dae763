"""Time steps of a record as C text: `tae_stream`, which cuts them into windows in the memory of its caller.

`tiedae.data.windows.Stream` is the same in Python. A stream of integer data is in NAME.h, and its windows are `data` there;
one of float data is in NAME_float.h.
"""

from __future__ import annotations

from .samples import DataUnit

_TYPE = """/* Time steps of a window, and values of a step. */
#define TAE_STREAM_STEPS {steps}
#define TAE_STREAM_CHANNELS {channels}

/*
 * Time steps, in pieces of any size, to windows, one each `hop` steps. Only `window` is to be read: a sample,
 * [TAE_STREAM_STEPS][TAE_STREAM_CHANNELS], after a push that returned TAE_OK and until the next one.
 */
typedef struct tae_stream {{
  size_t hop;
  size_t filled; /* steps of `window` */
  {value} window[TAE_INPUTS];
}} tae_stream;
"""
_INIT = "int tae_stream_init(tae_stream *stream, size_t hop)"
_INIT_NOTE = "/* Begin a stream. TAE_ARGUMENT: a null pointer, or a hop that is not 1 to TAE_STREAM_STEPS. */\n"
_INIT_BODY = """{
  if (stream == NULL || hop == 0 || hop > TAE_STREAM_STEPS) return TAE_ARGUMENT;
  stream->hop = hop;
  stream->filled = 0;
  return TAE_OK;
}
"""
_PUSH = "int tae_stream_push(tae_stream *stream, const {value} *steps, size_t count, size_t *used)"
_PUSH_NOTE = """/*
 * Take steps, [count][TAE_STREAM_CHANNELS], up to the end of a window. `*used`: how many were taken.
 * TAE_OK: stream->window is full. Encode or score it, or write it as a frame of one sample where `hop` is the window;
 * then push the rest.
 * TAE_END: all steps were taken, and no window is full.
 * TAE_ARGUMENT: a null pointer{or_other}. The stream is then as before.
 */
"""
_PUSH_BODY = """{{
  size_t i, kept, taken;
  if (stream == NULL || steps == NULL || used == NULL) return TAE_ARGUMENT;
  kept = stream->filled < TAE_STREAM_STEPS ? stream->filled : TAE_STREAM_STEPS - stream->hop;
  taken = count < TAE_STREAM_STEPS - kept ? count : TAE_STREAM_STEPS - kept;
{check}  if (stream->filled == TAE_STREAM_STEPS) {{
    const {value} *next = stream->window + stream->hop * TAE_STREAM_CHANNELS;
    for (i = 0; i < kept * TAE_STREAM_CHANNELS; i++) stream->window[i] = next[i];
  }}
  for (i = 0; i < taken * TAE_STREAM_CHANNELS; i++) stream->window[kept * TAE_STREAM_CHANNELS + i] = steps[i];
  stream->filled = kept + taken;
  *used = taken;
  return stream->filled == TAE_STREAM_STEPS ? TAE_OK : TAE_END;
}}
"""
_FINITE = """  for (i = 0; i < taken * TAE_STREAM_CHANNELS; i++) {
    if (!tae_finite((float)steps[i])) return TAE_ARGUMENT;
  }
"""


def stream_declarations(unit: DataUnit) -> str:
    """The type and the functions of integer data, for NAME.h."""
    push = _PUSH.format(value="tae_value")
    notes = f"{_INIT_NOTE}{_INIT};\n\n{_PUSH_NOTE.format(or_other='')}{push};\n"
    return f"{_type(unit, 'tae_value')}\n{notes.rstrip()}"


def stream_definitions() -> str:
    """Those functions, for NAME.c."""
    return f"{_INIT}\n{_INIT_BODY}\n{_PUSH.format(value='tae_value')}\n{_PUSH_BODY.format(value='tae_value', check='')}"


def float_stream_text(unit: DataUnit, value: str) -> str:
    """All of them for float data, of the C type `value`, for NAME_float.h."""
    note = _PUSH_NOTE.format(or_other=", or a step among those that would be taken that is not finite")
    push = f"{note}static inline {_PUSH.format(value=value)}\n{_PUSH_BODY.format(value=value, check=_FINITE)}"
    return f"{_type(unit, value)}\n{_INIT_NOTE}static inline {_INIT}\n{_INIT_BODY}\n{push}"


def _type(unit: DataUnit, value: str) -> str:
    steps = unit.spec.shape[0]
    return _TYPE.format(steps=steps, channels=unit.spec.inputs // steps, value=value)
