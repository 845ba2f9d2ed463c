// A driver without a device: it keeps texts, counts contexts, and hands launches to a function of the test, over memory of the process.
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

typedef int (*launch_t)(const char *text, unsigned blocks, unsigned threads, void *stream, void **parameters);

static launch_t hook;
static int depth;
static int refused[3]; // modules, launches, copies
static int counts[3]; // waits for a stream, copies to the device, waits for an event
static int devices = 1;
static int contexts[4]; // an address for each device
static void *entered[64];

// A launch that was noted, with what its parameters were, and the launches of a graph. At most one graph is noted at a time.
typedef struct { void *function; unsigned x, tx; void *parameters[16]; } noted_t;
typedef struct { int count; noted_t launches[64]; } graph_t;
static graph_t *noting;
static void *noted_stream;
static int capture_mode; // what a thread may do meanwhile: 2, anything
typedef int (*sizes_t)(const char *text, int *bytes);
static sizes_t sizes;

typedef struct { void *context; char *text; } module_t;

int fake_devices(int count, int b) { devices = count; return 0; }

void fake_hook(launch_t launch) { hook = launch; }
void fake_sizes(sizes_t how) { sizes = how; }
int fake_depth(int a, int b) { return depth; }
int fake_refuse(int what, int error) { refused[what] = error; return 0; }
int fake_count(int what, int b) { return counts[what]; }
int fake_reset(int a, int b) { memset(refused, 0, sizeof refused); depth = 0; devices = 1; noting = 0; return 0; }

int cuInit(unsigned flags) { return flags == 0 ? 0 : 1; }
int cuDeviceGetCount(int *count) { *count = devices; return 0; }
int cuDeviceGet(int *device, int ordinal) { *device = 40 + ordinal; return ordinal < devices ? 0 : 101; }
int cuDeviceGetName(char *name, int length, int device) { strncpy(name, "Fake 1", length); return device < 40 + devices ? 0 : 101; }
int cuDeviceGetAttribute(int *value, int attribute, int device) {
    *value = attribute == 75 ? 9 : 0;
    return device < 40 + devices ? 0 : 101;
}
int cuDevicePrimaryCtxRetain(void **context, int device) {
    if (device >= 40 + devices) return 101;
    *context = contexts + device - 40;
    return 0;
}
int cuCtxPushCurrent_v2(void *context) {
    if ((int *)context < contexts || (int *)context >= contexts + devices || depth == 64) return 201;
    entered[depth++] = context;
    return 0;
}
int cuCtxPopCurrent_v2(void **context) {
    if (depth == 0) return 201;
    *context = entered[--depth];
    return 0;
}
int cuStreamCreate(void **stream, unsigned flags) {
    static size_t made = 1000;
    *stream = (void *)++made;
    return depth == 0 ? 201 : 0;
}
int cuStreamDestroy_v2(void *stream) { return depth == 0 ? 201 : (size_t)stream > 1000 ? 0 : 400; }

int cuModuleLoadDataEx(void **module, const char *image, unsigned options, int *names, void **values) {
    if (depth == 0) return 201;
    if (refused[0]) {
        if (options == 2 && names[0] == 5 && names[1] == 6)
            strncpy(values[0], "line 1: told to refuse it", (size_t)values[1]);
        return refused[0];
    }
    if (strncmp(image, ".version ", 9)) return 218;
    module_t *made = malloc(sizeof *made);
    made->context = entered[depth - 1];
    made->text = strdup(image);
    *module = made;
    return 0;
}
int cuModuleGetFunction(void **function, void *module, const char *name) {
    *function = module;
    return depth == 0 ? 201 : strstr(((module_t *)module)->text, name) ? 0 : 500;
}
int cuLaunchKernel(void *function, unsigned x, unsigned y, unsigned z, unsigned tx, unsigned ty, unsigned tz, unsigned shared, void *stream,
                   void **parameters, void **extra) {
    if (depth == 0) return 201;
    if (entered[depth - 1] != ((module_t *)function)->context) return 400;
    if (refused[1]) return refused[1];
    if (extra || y != 1 || z != 1 || ty != 1 || tz != 1 || x == 0 || tx == 0 || tx > 1024 || shared) return 1;
    if (noting && stream == noted_stream) {
        int bytes[16], count = sizes(((module_t *)function)->text, bytes);
        if (noting->count == 64 || count > 16) return 1;
        noted_t *to = &noting->launches[noting->count++];
        *to = (noted_t){ function, x, tx };
        for (int i = 0; i < count; i++) memcpy(to->parameters[i] = malloc(bytes[i]), parameters[i], bytes[i]);
        return 0;
    }
    return hook(((module_t *)function)->text, x, tx, stream, parameters);
}
int cuStreamIsCapturing(void *stream, int *status) { *status = noting && stream == noted_stream; return 0; }
int cuStreamBeginCapture_v2(void *stream, int mode) {
    // The default stream cannot be captured.
    if (depth == 0) return 201;
    if (!stream || noting || mode != 1) return 900;
    noting = calloc(1, sizeof *noting);
    noted_stream = stream;
    return 0;
}
int cuStreamEndCapture(void *stream, void **graph) {
    if (depth == 0) return 201;
    if (!noting || stream != noted_stream) return 901;
    *graph = noting;
    noting = 0;
    return 0;
}
int cuGraphInstantiateWithFlags(void **ready, void *graph, unsigned long long flags) {
    if (depth == 0) return 201;
    memcpy(*ready = malloc(sizeof(graph_t)), graph, sizeof(graph_t));
    return flags ? 1 : refused[0];
}
int cuGraphLaunch(void *ready, void *stream) {
    graph_t *graph = ready;
    if (depth == 0) return 201;
    if (refused[1]) return refused[1];
    for (int i = 0; i < graph->count; i++) {
        noted_t *of = &graph->launches[i];
        int error = hook(((module_t *)of->function)->text, of->x, of->tx, stream, of->parameters);
        if (error) return error;
    }
    return 0;
}
int cuGraphExecDestroy(void *ready) { free(ready); return depth == 0 ? 201 : 0; }
int cuGraphDestroy(void *graph) { free(graph); return depth == 0 ? 201 : 0; }
static int copy(void *target, const void *source, size_t bytes) {
    if (depth == 0) return 201;
    if (noting) return 900;
    if (refused[2]) return refused[2];
    memcpy(target, source, bytes);
    return 0;
}
int cuMemcpyHtoDAsync_v2(void *target, const void *source, size_t bytes, void *stream) { counts[1]++; return copy(target, source, bytes); }
int cuMemcpyDtoHAsync_v2(void *target, const void *source, size_t bytes, void *stream) { return copy(target, source, bytes); }
int cuStreamSynchronize(void *stream) { counts[0]++; return depth == 0 ? 201 : noting && stream == noted_stream ? 900 : refused[1]; }
int cuMemAlloc_v2(void **address, size_t bytes) { *address = aligned_alloc(256, (bytes + 255) / 256 * 256); return *address ? 0 : 2; }
int cuMemFree_v2(void *address) { free(address); return 0; }
int cuMemHostAlloc(void **address, size_t bytes, unsigned flags) { *address = malloc(bytes); return depth == 0 ? 201 : flags ? 1 : 0; }
int cuMemFreeHost(void *address) { free(address); return depth == 0 ? 201 : 0; }
int cuEventCreate(void **event, unsigned flags) { *event = calloc(1, 8); return depth == 0 ? 201 : flags == 2 ? 0 : 1; }
int cuEventRecord(void *event, void *stream) { *(void **)event = stream; return depth == 0 ? 201 : refused[2]; }
int cuThreadExchangeStreamCaptureMode(int *mode) {
    static int now;
    int before = now;
    now = capture_mode = *mode;
    *mode = before;
    return 0;
}
int cuEventSynchronize(void *event) {
    counts[2]++;
    return depth == 0 ? 201 : noting && capture_mode != 2 ? 900 : *(void **)event ? refused[1] : 1;
}
int cuEventDestroy_v2(void *event) { free(event); return depth == 0 ? 201 : 0; }
int cuGetErrorName(int error, const char **text) {
    *text = error == 1 ? "CUDA_ERROR_INVALID_VALUE"
        : error == 101 ? "CUDA_ERROR_INVALID_DEVICE"
        : error == 201 ? "CUDA_ERROR_INVALID_CONTEXT"
        : error == 218 ? "CUDA_ERROR_INVALID_PTX"
        : error == 700 ? "CUDA_ERROR_ILLEGAL_ADDRESS"
        : error == 701 ? "CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES"
        : error == 719 ? "CUDA_ERROR_LAUNCH_FAILED"
        : error == 900 ? "CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED"
        : error == 901 ? "CUDA_ERROR_STREAM_CAPTURE_INVALIDATED"
        : "CUDA_ERROR_UNKNOWN";
    return 0;
}
