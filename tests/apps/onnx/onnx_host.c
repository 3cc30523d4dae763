/* An application that runs NAME.onnx by ONNX Runtime's C API: MODEL X COUNT VALUES CODE Y, files of raw values. */
#include <onnxruntime_c_api.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

static const OrtApi *api;

static void require(OrtStatus *status)
{
  if (status == NULL) return;
  fprintf(stderr, "%s\n", api->GetErrorMessage(status));
  exit(1);
}

static size_t width(ONNXTensorElementDataType type)
{
  return type == ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT ? 4 : 1;
}

static void write_tensor(OrtValue *value, const char *path)
{
  OrtTensorTypeAndShapeInfo *info;
  ONNXTensorElementDataType type;
  size_t count;
  void *data;
  FILE *file = fopen(path, "wb");
  require(api->GetTensorTypeAndShape(value, &info));
  require(api->GetTensorElementType(info, &type));
  require(api->GetTensorShapeElementCount(info, &count));
  api->ReleaseTensorTypeAndShapeInfo(info);
  require(api->GetTensorMutableData(value, &data));
  if (file == NULL || fwrite(data, width(type), count, file) != count || fclose(file) != 0) exit(1);
}

int main(int argc, char **argv)
{
  const char *const inputs[] = {"x"};
  const char *const outputs[] = {"code", "y"};
  OrtValue *found[2] = {NULL, NULL};
  OrtValue *x;
  OrtEnv *env;
  OrtSession *session;
  OrtSessionOptions *options;
  OrtTypeInfo *type_info;
  OrtMemoryInfo *memory;
  const OrtTensorTypeAndShapeInfo *info;
  ONNXTensorElementDataType type;
  int64_t shape[2];
  size_t bytes;
  void *data;
  FILE *file;
  if (argc != 7) return 2;
  api = OrtGetApiBase()->GetApi(ORT_API_VERSION);
  require(api->CreateEnv(ORT_LOGGING_LEVEL_WARNING, "host", &env));
  require(api->CreateSessionOptions(&options));
  require(api->SetIntraOpNumThreads(options, 1));
  require(api->CreateSession(env, argv[1], options, &session));
  require(api->SessionGetInputTypeInfo(session, 0, &type_info));
  require(api->CastTypeInfoToTensorInfo(type_info, &info));
  require(api->GetTensorElementType(info, &type));
  shape[0] = atoi(argv[3]);
  shape[1] = atoi(argv[4]);
  bytes = (size_t)(shape[0] * shape[1]) * width(type);
  data = malloc(bytes);
  file = fopen(argv[2], "rb");
  if (data == NULL || file == NULL || fread(data, 1, bytes, file) != bytes || fgetc(file) != EOF) return 2;
  fclose(file);
  require(api->CreateCpuMemoryInfo(OrtArenaAllocator, OrtMemTypeDefault, &memory));
  require(api->CreateTensorWithDataAsOrtValue(memory, data, bytes, shape, 2, type, &x));
  require(api->Run(session, NULL, inputs, (const OrtValue *const *)&x, 1, outputs, 2, found));
  write_tensor(found[0], argv[5]);
  write_tensor(found[1], argv[6]);
  api->ReleaseValue(found[0]);
  api->ReleaseValue(found[1]);
  api->ReleaseValue(x);
  api->ReleaseMemoryInfo(memory);
  api->ReleaseTypeInfo(type_info);
  api->ReleaseSession(session);
  api->ReleaseSessionOptions(options);
  api->ReleaseEnv(env);
  free(data);
  return 0;
}
