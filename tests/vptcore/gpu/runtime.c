/* A CUDA runtime and cuBLAS without a card, for LD_PRELOAD: torch's own host code runs on it, and what it asks of the
   device is counted. Memory is real but untouched, copies are made, kernels and products do nothing, so that values mean
   nothing. Streams and graph capture have the states that a caller can see. Whatever is not here comes from rest.c,
   written by pretend.py: it returns success. */

#include <driver_types.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define EXPORT __attribute__((visibility("default")))
#define MOST_BLOCKS 65536
#define COPIED_BYTES (8u << 20) /* larger copies are counted, not made */

enum what { LAUNCHES, PRODUCTS, UPLOADS, DOWNLOADS, MOVES, FILLS, STREAM_WAITS, DEVICE_WAITS, EVENT_WAITS, CAPTURES,
            REPLAYS, KINDS };
static long counts[KINDS];
EXPORT long pretended(int kind) { return counts[kind]; }

static struct { char *start; size_t bytes; } blocks[MOST_BLOCKS];
static int block_count;
static long held, most_held;
EXPORT long pretended_bytes(void) { return most_held; }

static long capacity(void) {
    const char *said = getenv("PRETENDED_BYTES");
    return said ? atol(said) : 80000000000L;
}

static uintptr_t next_handle = 0x10000;
static int give(void *place) { *(uintptr_t *)place = next_handle += 64; return cudaSuccess; }
static int count(enum what kind) { counts[kind]++; return cudaSuccess; }

/* Memory. */

EXPORT int cudaMalloc(void **place, size_t bytes) {
    size_t whole = (bytes + 4095) & ~(size_t)4095;
    if (held + (long)whole > capacity() || block_count == MOST_BLOCKS) return cudaErrorMemoryAllocation;
    *place = mmap(NULL, whole, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (*place == MAP_FAILED) return cudaErrorMemoryAllocation;
    blocks[block_count].start = *place;
    blocks[block_count++].bytes = whole;
    held += whole;
    if (held > most_held) most_held = held;
    return cudaSuccess;
}

EXPORT int cudaFree(void *start) {
    for (int i = 0; start && i < block_count; i++)
        if (blocks[i].start == start) {
            munmap(start, blocks[i].bytes);
            held -= blocks[i].bytes;
            blocks[i] = blocks[--block_count];
            break;
        }
    return cudaSuccess;
}

EXPORT int cudaMemGetInfo(size_t *free_bytes, size_t *total) {
    *total = capacity();
    *free_bytes = *total - held;
    return cudaSuccess;
}

EXPORT int cudaHostAlloc(void **place, size_t bytes, unsigned flags) { *place = calloc(1, bytes); return cudaSuccess; }
EXPORT int cudaMallocHost(void **place, size_t bytes) { return cudaHostAlloc(place, bytes, 0); }
EXPORT int cudaFreeHost(void *start) { free(start); return cudaSuccess; }

EXPORT int cudaPointerGetAttributes(struct cudaPointerAttributes *is, const void *at) {
    memset(is, 0, sizeof *is);
    is->type = cudaMemoryTypeUnregistered;
    for (int i = 0; i < block_count; i++)
        if ((char *)at >= blocks[i].start && (char *)at < blocks[i].start + blocks[i].bytes) {
            is->type = cudaMemoryTypeDevice;
            is->devicePointer = (void *)at;
        }
    return cudaSuccess;
}

static int capturing;
EXPORT int cudaMemcpyAsync(void *to, const void *from, size_t bytes, int kind, void *stream) {
    count(kind == cudaMemcpyHostToDevice ? UPLOADS : kind == cudaMemcpyDeviceToHost ? DOWNLOADS : MOVES);
    if (!capturing && bytes <= COPIED_BYTES) memcpy(to, from, bytes);
    return cudaSuccess;
}
EXPORT int cudaMemcpy(void *to, const void *from, size_t bytes, int kind) {
    count(STREAM_WAITS);
    return cudaMemcpyAsync(to, from, bytes, kind, NULL);
}
EXPORT int cudaMemsetAsync(void *at, int value, size_t bytes, void *stream) {
    if (!capturing && bytes <= COPIED_BYTES) memset(at, value, bytes);
    return count(FILLS);
}
EXPORT int cudaMemset(void *at, int value, size_t bytes) { return cudaMemsetAsync(at, value, bytes, NULL); }
static char symbol[1 << 16];
EXPORT int cudaGetSymbolAddress(void **place, const void *name) { *place = symbol; return cudaSuccess; }

/* The card. */

EXPORT int cudaGetDeviceCount(int *n) { *n = 1; return cudaSuccess; }
EXPORT int cudaGetDevice(int *device) { *device = 0; return cudaSuccess; }
EXPORT int cudaDriverGetVersion(int *version) { *version = 13020; return cudaSuccess; }
EXPORT int cudaRuntimeGetVersion(int *version) { *version = 13020; return cudaSuccess; }
EXPORT const char *cudaGetErrorString(int error) {
    return error == cudaErrorMemoryAllocation ? "out of memory" : "an error that nothing here gives";
}
EXPORT const char *cudaGetErrorName(int error) { return cudaGetErrorString(error); }
EXPORT int cudaDeviceGetStreamPriorityRange(int *least, int *most) { *least = 0; *most = -5; return cudaSuccess; }
EXPORT int cudaStreamGetPriority(void *stream, int *priority) { *priority = 0; return cudaSuccess; }
EXPORT int cudaDeviceGetPCIBusId(char *id, int length, int device) {
    strncpy(id, "0000:00:00.0", length);
    return cudaSuccess;
}

EXPORT int cudaGetDeviceProperties(struct cudaDeviceProp *card, int device) {
    memset(card, 0, sizeof *card);
    strcpy(card->name, "NVIDIA H100 80GB HBM3");
    card->totalGlobalMem = capacity();
    card->major = 9;
    card->multiProcessorCount = 132;
    card->warpSize = 32;
    card->maxThreadsPerBlock = card->maxThreadsDim[0] = card->maxThreadsDim[1] = 1024;
    card->maxThreadsDim[2] = 64;
    card->maxGridSize[0] = 2147483647;
    card->maxGridSize[1] = card->maxGridSize[2] = 65535;
    card->maxThreadsPerMultiProcessor = 2048;
    card->regsPerBlock = card->regsPerMultiprocessor = card->totalConstMem = 65536;
    card->sharedMemPerBlock = 48 << 10;
    card->sharedMemPerBlockOptin = 227 << 10;
    card->sharedMemPerMultiprocessor = 228 << 10;
    card->l2CacheSize = 50 << 20;
    card->textureAlignment = 512;
    card->unifiedAddressing = card->concurrentKernels = card->cooperativeLaunch = 1;
    return cudaSuccess;
}

EXPORT int cudaDeviceGetAttribute(int *value, int which, int device) {
    static const struct { int which, value; } known[] = {
        {cudaDevAttrMaxThreadsPerBlock, 1024}, {cudaDevAttrMaxBlockDimX, 1024}, {cudaDevAttrMaxBlockDimY, 1024},
        {cudaDevAttrMaxBlockDimZ, 64}, {cudaDevAttrMaxGridDimX, 2147483647}, {cudaDevAttrMaxGridDimY, 65535},
        {cudaDevAttrMaxGridDimZ, 65535}, {cudaDevAttrWarpSize, 32}, {cudaDevAttrMultiProcessorCount, 132},
        {cudaDevAttrMaxSharedMemoryPerBlock, 48 << 10}, {cudaDevAttrMaxSharedMemoryPerBlockOptin, 227 << 10},
        {cudaDevAttrMaxSharedMemoryPerMultiprocessor, 228 << 10}, {cudaDevAttrMaxRegistersPerBlock, 65536},
        {cudaDevAttrMaxRegistersPerMultiprocessor, 65536}, {cudaDevAttrMaxThreadsPerMultiProcessor, 2048},
        {cudaDevAttrComputeCapabilityMajor, 9}, {cudaDevAttrComputeCapabilityMinor, 0},
        {cudaDevAttrMaxBlocksPerMultiprocessor, 32},
    };
    *value = 1;
    for (unsigned i = 0; i < sizeof known / sizeof *known; i++)
        if (known[i].which == which) *value = known[i].value;
    return cudaSuccess;
}

EXPORT int cudaFuncGetAttributes(struct cudaFuncAttributes *of, const void *kernel) {
    memset(of, 0, sizeof *of);
    of->maxThreadsPerBlock = 1024;
    of->numRegs = 32;
    of->ptxVersion = of->binaryVersion = 90;
    return cudaSuccess;
}
EXPORT int cudaOccupancyMaxActiveBlocksPerMultiprocessor(int *n, const void *kernel, int size, size_t shared) {
    *n = 2;
    return cudaSuccess;
}
EXPORT int cudaOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(int *n, const void *k, int s, size_t h, unsigned f) {
    *n = 2;
    return cudaSuccess;
}
static int nothing(void) { return 0; }
EXPORT int cudaGetDriverEntryPointByVersion(const char *name, void **f, unsigned v, unsigned long long fl, int *status) {
    *f = (void *)nothing;
    if (status) *status = 0;
    return cudaSuccess;
}

/* Work. */

struct size3 { unsigned x, y, z; };
EXPORT int cudaLaunchKernel(const void *k, struct size3 g, struct size3 b, void **a, size_t s, void *stream) {
    return count(LAUNCHES);
}
EXPORT int __cudaLaunchKernel(void *k, struct size3 g, struct size3 b, void **a, size_t s, void *stream) {
    return count(LAUNCHES);
}
EXPORT int cudaLaunchKernelExC(const void *config, const void *kernel, void **arguments) { return count(LAUNCHES); }
EXPORT int __cudaGetKernel(void **kernel, const void *entry) { *kernel = (void *)entry; return cudaSuccess; }
EXPORT int __cudaPopCallConfiguration(struct size3 *grid, struct size3 *block, size_t *shared, void **stream) {
    *grid = *block = (struct size3){1, 1, 1};
    *shared = 0;
    *stream = NULL;
    return cudaSuccess;
}

EXPORT int cudaStreamCreate(void **stream) { return give(stream); }
EXPORT int cudaStreamCreateWithFlags(void **stream, unsigned flags) { return give(stream); }
EXPORT int cudaStreamCreateWithPriority(void **stream, unsigned flags, int priority) { return give(stream); }
EXPORT int cudaEventCreate(void **event) { return give(event); }
EXPORT int cudaEventCreateWithFlags(void **event, unsigned flags) { return give(event); }
EXPORT int cudaEventElapsedTime(float *ms, void *from, void *to) { *ms = 1; return cudaSuccess; }
EXPORT int cudaStreamSynchronize(void *stream) { return count(STREAM_WAITS); }
EXPORT int cudaDeviceSynchronize(void) { return count(DEVICE_WAITS); }
EXPORT int cudaEventSynchronize(void *event) { return count(EVENT_WAITS); }

/* Graphs: one capture at a time. */

static void *captured;
static unsigned long long capture_id;
EXPORT int cudaStreamBeginCapture(void *stream, int mode) {
    captured = stream;
    capturing = 1;
    capture_id++;
    return count(CAPTURES);
}
EXPORT int cudaStreamEndCapture(void *stream, void **graph) { capturing = 0; return give(graph); }
EXPORT int cudaStreamIsCapturing(void *stream, int *is) { *is = capturing && stream == captured; return cudaSuccess; }
EXPORT int cudaStreamGetCaptureInfo(void *stream, int *is, unsigned long long *id, void **graph, void ***needs,
                                    void **edges, size_t *n) {
    cudaStreamIsCapturing(stream, is);
    if (id) *id = *is ? capture_id : 0;
    if (graph) *graph = (void *)0x40;
    if (needs) *needs = NULL;
    if (edges) *edges = NULL;
    if (n) *n = 0;
    return cudaSuccess;
}
EXPORT int cudaGraphInstantiate(void **made, void *graph, unsigned long long flags) { return give(made); }
EXPORT int cudaGraphInstantiateWithFlags(void **made, void *graph, unsigned long long flags) { return give(made); }
EXPORT int cudaGraphLaunch(void *made, void *stream) { return count(REPLAYS); }
EXPORT int cudaGraphGetNodes(void *graph, void **nodes, size_t *n) { *n = 1; return cudaSuccess; }

/* Products. */

EXPORT int cublasCreate_v2(void **handle) { return give(handle); }
EXPORT int cublasGetMathMode(void *handle, int *mode) { *mode = 0; return 0; }
EXPORT int cublasGetPointerMode_v2(void *handle, int *mode) { *mode = 0; return 0; }
EXPORT int cublasGemmEx(void *handle) { return count(PRODUCTS); }
EXPORT int cublasSgemm_v2(void *handle) { return count(PRODUCTS); }
EXPORT int cublasDgemm_v2(void *handle) { return count(PRODUCTS); }
EXPORT int cublasSgemmStridedBatched(void *handle) { return count(PRODUCTS); }
EXPORT int cublasGemmStridedBatchedEx(void *handle) { return count(PRODUCTS); }
EXPORT int cublasLtMatmul(void *handle) { return count(PRODUCTS); }
EXPORT int cublasLtCreate(void **handle) { return give(handle); }
EXPORT int cublasLtMatmulDescCreate(void **of, int type, int scale) { return give(of); }
EXPORT int cublasLtMatrixLayoutCreate(void **of, int type, uint64_t rows, uint64_t columns, int64_t lead) {
    return give(of);
}
EXPORT int cublasLtMatmulPreferenceCreate(void **of) { return give(of); }
EXPORT int cublasLtMatmulAlgoGetHeuristic(void *h, void *d, void *a, void *b, void *c, void *e, void *p, int wanted,
                                          char *results, int *n) {
    memset(results, 0, 64);
    *n = 1;
    return 0;
}
