/* The native methods of HeartbeatModel. They return a status of heartbeat.h or heartbeat_app.h, or a new array with the status beside it. */
#include <jni.h>
#include <stdlib.h>

#include "heartbeat.h"
#include "heartbeat_app.h"

/* Samples that are copied at a time: arrays of any size take little memory here, and the collector is never stopped. */
#define CHUNK (16384u / sizeof(heartbeat_sample) / HEARTBEAT_INPUTS + 1u)

typedef jshortArray sample_array;
#define GET_SAMPLES(env, array, first, count, to) (*(env))->GetShortArrayRegion(env, array, first, count, (jshort *)(to))
#define SET_SAMPLES(env, array, first, count, from) \
  (*(env))->SetShortArrayRegion(env, array, first, count, (const jshort *)(from))

typedef struct {
  heartbeat_sample samples[CHUNK * HEARTBEAT_INPUTS];
  heartbeat_sample made[CHUNK * HEARTBEAT_INPUTS];
  uint8_t codes[CHUNK * HEARTBEAT_UNITS];
} chunk;

/* How many whole elements of `each` values an array has; -1 for null. */
static jsize elements(JNIEnv *env, jarray array, jsize each)
{
  return array == NULL ? -1 : (*env)->GetArrayLength(env, array) / each;
}

static jstring JNICALL check(JNIEnv *env, jclass owner)
{
  char text[96];
  (void)owner;
  return heartbeat_app_check(text, sizeof text) ? (*env)->NewStringUTF(env, text) : NULL;
}

static jint JNICALL encode(JNIEnv *env, jclass owner, sample_array samples, jbyteArray codes)
{
  const jsize count = elements(env, samples, HEARTBEAT_INPUTS);
  int status = HEARTBEAT_OK;
  jsize first;
  chunk *work;
  (void)owner;
  if (count < 0 || elements(env, codes, HEARTBEAT_UNITS) < count) return HEARTBEAT_ARGUMENT;
  work = malloc(sizeof *work);
  if (work == NULL) return HEARTBEAT_NO_MEMORY;
  for (first = 0; first < count && status == HEARTBEAT_OK; first += (jsize)CHUNK) {
    const jsize part = count - first < (jsize)CHUNK ? count - first : (jsize)CHUNK;
    GET_SAMPLES(env, samples, first * HEARTBEAT_INPUTS, part * HEARTBEAT_INPUTS, work->samples);
    status = heartbeat_app_encode(work->samples, (size_t)part, work->codes);
    if (status == HEARTBEAT_OK) {
      (*env)->SetByteArrayRegion(env, codes, first * HEARTBEAT_UNITS, part * HEARTBEAT_UNITS, (const jbyte *)work->codes);
    }
  }
  free(work);
  return status;
}

static jint JNICALL decode(JNIEnv *env, jclass owner, jbyteArray codes, sample_array samples)
{
  const jsize count = elements(env, codes, HEARTBEAT_UNITS);
  int status = HEARTBEAT_OK;
  jsize first;
  chunk *work;
  (void)owner;
  if (count < 0 || elements(env, samples, HEARTBEAT_INPUTS) < count) return HEARTBEAT_ARGUMENT;
  work = malloc(sizeof *work);
  if (work == NULL) return HEARTBEAT_NO_MEMORY;
  for (first = 0; first < count && status == HEARTBEAT_OK; first += (jsize)CHUNK) {
    const jsize part = count - first < (jsize)CHUNK ? count - first : (jsize)CHUNK;
    (*env)->GetByteArrayRegion(env, codes, first * HEARTBEAT_UNITS, part * HEARTBEAT_UNITS, (jbyte *)work->codes);
    status = heartbeat_app_decode(work->codes, (size_t)part, work->made);
    if (status == HEARTBEAT_OK) SET_SAMPLES(env, samples, first * HEARTBEAT_INPUTS, part * HEARTBEAT_INPUTS, work->made);
  }
  free(work);
  return status;
}

static jint JNICALL reconstruct(JNIEnv *env, jclass owner, sample_array samples, sample_array reconstructed)
{
  const jsize count = elements(env, samples, HEARTBEAT_INPUTS);
  int status = HEARTBEAT_OK;
  jsize first;
  chunk *work;
  (void)owner;
  if (count < 0 || elements(env, reconstructed, HEARTBEAT_INPUTS) < count) return HEARTBEAT_ARGUMENT;
  work = malloc(sizeof *work);
  if (work == NULL) return HEARTBEAT_NO_MEMORY;
  for (first = 0; first < count && status == HEARTBEAT_OK; first += (jsize)CHUNK) {
    const jsize part = count - first < (jsize)CHUNK ? count - first : (jsize)CHUNK;
    GET_SAMPLES(env, samples, first * HEARTBEAT_INPUTS, part * HEARTBEAT_INPUTS, work->samples);
    status = heartbeat_app_reconstruct(work->samples, (size_t)part, work->made);
    if (status == HEARTBEAT_OK) SET_SAMPLES(env, reconstructed, first * HEARTBEAT_INPUTS, part * HEARTBEAT_INPUTS, work->made);
  }
  free(work);
  return status;
}

/* Put a status where Java reads it, unless an exception is pending already. */
static void answer(JNIEnv *env, jintArray to, int status)
{
  const jint value = status;
  if (!(*env)->ExceptionCheck(env)) (*env)->SetIntArrayRegion(env, to, 0, 1, &value);
}

static jbyteArray JNICALL compress(JNIEnv *env, jclass owner, sample_array samples, jint kind, jint bound, jintArray answered)
{
  const jsize count = elements(env, samples, HEARTBEAT_INPUTS);
  jbyteArray file = NULL;
  heartbeat_sample *copy;
  uint8_t *bytes = NULL;
  size_t size = 0;
  int status = HEARTBEAT_NO_MEMORY;
  (void)owner;
  if (elements(env, answered, 1) < 1) return NULL;
  copy = count < 0 ? NULL : malloc(((size_t)count * HEARTBEAT_INPUTS + 1) * sizeof *copy);
  if (copy != NULL) {
    GET_SAMPLES(env, samples, 0, count * HEARTBEAT_INPUTS, copy);
    status = heartbeat_app_compress(copy, (size_t)count, (int)kind, (uint32_t)bound, &bytes, &size);
    free(copy);
  }
  if (status == HEARTBEAT_OK && size > INT32_MAX) status = HEARTBEAT_SPACE;
  if (status == HEARTBEAT_OK) file = (*env)->NewByteArray(env, (jsize)size);
  if (file != NULL) (*env)->SetByteArrayRegion(env, file, 0, (jsize)size, (const jbyte *)bytes);
  heartbeat_app_free(bytes);
  answer(env, answered, status);
  return file;
}

static sample_array JNICALL decompress(JNIEnv *env, jclass owner, jbyteArray file, jboolean recover, jintArray answered)
{
  const jsize size = elements(env, file, 1);
  sample_array found = NULL;
  uint8_t *bytes;
  heartbeat_sample *samples = NULL;
  size_t count = 0;
  int status = HEARTBEAT_NO_MEMORY;
  (void)owner;
  if (elements(env, answered, 1) < 1) return NULL;
  bytes = size < 0 ? NULL : malloc((size_t)size + 1);
  if (bytes != NULL) {
    (*env)->GetByteArrayRegion(env, file, 0, size, (jbyte *)bytes);
    status = heartbeat_app_count(bytes, (size_t)size, &count);
    if (count > INT32_MAX / HEARTBEAT_INPUTS) status = HEARTBEAT_SPACE;
    if (status == HEARTBEAT_OK || (status == HEARTBEAT_DAMAGED && recover)) {
      samples = malloc((count * HEARTBEAT_INPUTS + 1) * sizeof *samples);
      status = samples == NULL ? HEARTBEAT_NO_MEMORY : heartbeat_app_decompress(bytes, (size_t)size, samples, count, &count);
    }
    free(bytes);
  }
  if (status == HEARTBEAT_DAMAGED && recover && samples != NULL && count > 0) status = HEARTBEAT_OK;
  if (status == HEARTBEAT_OK) found = (*env)->NewShortArray(env, (jsize)(count * HEARTBEAT_INPUTS));
  if (found != NULL) SET_SAMPLES(env, found, 0, (jsize)(count * HEARTBEAT_INPUTS), samples);
  free(samples);
  answer(env, answered, status);
  return found;
}

#define METHOD(name, signature) {(char *)#name "0", (char *)(signature), (void *)(uintptr_t)name}

static const JNINativeMethod methods[] = {
  METHOD(check, "()Ljava/lang/String;"),
  METHOD(encode, "([S[B)I"),
  METHOD(decode, "([B[S)I"),
  METHOD(reconstruct, "([S[S)I"),
  METHOD(compress, "([SII[I)[B"),
  METHOD(decompress, "([BZ[I)[S"),
};

JNIEXPORT jint JNICALL JNI_OnLoad(JavaVM *machine, void *reserved)
{
  void *env = NULL;
  JNIEnv *of;
  jclass owner;
  jint status;
  (void)reserved;
  if ((*machine)->GetEnv(machine, &env, JNI_VERSION_1_6) != JNI_OK) return JNI_ERR;
  of = env;
  owner = (*of)->FindClass(of, "tiedae/heartbeat/HeartbeatModel");
  if (owner == NULL) return JNI_ERR;
  status = (*of)->RegisterNatives(of, owner, methods, (jint)(sizeof methods / sizeof methods[0]));
  (*of)->DeleteLocalRef(of, owner);
  return status == JNI_OK ? JNI_VERSION_1_6 : JNI_ERR;
}
