/* The CUDA driver's functions that Triton and torch call, for a library named libcuda.so.1: kernels are loaded and
   launched, and do nothing. The rest of its functions are stubs that return success, written by pretend.py. Its own
   numbers are the runtime's (runtime.c), which is preloaded. */

#include <stdint.h>

enum { MAX_THREADS_PER_BLOCK = 0, NUM_REGS = 4 }; /* of CUfunction_attribute */
#define EXPORT __attribute__((visibility("default")))

extern int cudaDeviceGetAttribute(int *value, int which, int device);
extern int cudaLaunchKernelExC(const void *config, const void *kernel, void **arguments);

static uintptr_t next_handle = 0x20;
static int give(void *place) { *(uintptr_t *)place = next_handle += 16; return 0; }

EXPORT int cuDeviceGetCount(int *count) { *count = 1; return 0; }
EXPORT int cuDeviceGet(int *device, int which) { *device = 0; return 0; }
EXPORT int cuDriverGetVersion(int *version) { *version = 13020; return 0; }
EXPORT int cuDeviceGetAttribute(int *value, int which, int device) { return cudaDeviceGetAttribute(value, which, device); }
EXPORT int cuGetErrorString(int error, const char **text) { *text = "an error that nothing here gives"; return 0; }
EXPORT int cuDevicePrimaryCtxGetState(int device, unsigned *flags, int *active) {
    *flags = 0;
    *active = 1; /* torch 2.11 asks whether a stream is captured only where there is a context */
    return 0;
}
EXPORT int cuCtxGetCurrent(void **context) { *context = (void *)0x10; return 0; }
EXPORT int cuModuleLoadData(void **module, const void *image) { return give(module); }
EXPORT int cuModuleGetFunction(void **function, void *module, const char *name) { return give(function); }
EXPORT int cuFuncGetAttribute(int *value, int which, void *function) {
    *value = which == MAX_THREADS_PER_BLOCK ? 1024 : which == NUM_REGS ? 32 : 0;
    return 0;
}
EXPORT int cuOccupancyMaxActiveClusters(int *count, void *function, void *config) { *count = 1; return 0; }
EXPORT int cuLaunchKernel(void *f, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz,
                          unsigned shared, void *stream, void **arguments, void **more) {
    return cudaLaunchKernelExC(0, f, arguments);
}
EXPORT int cuLaunchKernelEx(const void *config, void *f, void **arguments, void **more) {
    return cudaLaunchKernelExC(config, f, arguments);
}
