/* A stand-in for NVIDIA's libnvidia-ml.so.1. The file that FAKE_NVML names says how it behaves:
 *
 *   count 2            GPUs
 *   init 18            what nvmlInitWithFlags returns
 *   gpu1.lost 15       what each call about this GPU returns
 *   gpu0.util 37       the utilisation of a GPU, in percent
 *   gpu0.xid 79        an XID: each new number is one event
 *   gpu0.mig 2         MIG instances of a GPU
 *   error.FUNCTION 3   what a function returns
 *   hang.FUNCTION 1    a function never returns
 *
 * With -DOLD it lacks what an old driver lacks.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MOST 8
#define CHECK(gpu) { int code = asked(__func__, gpu); if (code) return code; }
#define ANSWER(name, type, value) \
    int name(int *gpu, type *out) { CHECK(gpu); *out = (value); return 0; }

static int gpus[MOST] = {0, 1, 2, 3, 4, 5, 6, 7};
static int instances[MOST * MOST];
static char settings[65536];
static struct stat known;
static long long last_xid[MOST];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static void refresh(void) {
    struct stat now;
    const char *path = getenv("FAKE_NVML");
    if (!path || stat(path, &now))
        return;
    if (now.st_ino == known.st_ino && now.st_mtim.tv_nsec == known.st_mtim.tv_nsec &&
        now.st_mtim.tv_sec == known.st_mtim.tv_sec)
        return;
    FILE *file = fopen(path, "r");
    if (!file)
        return;
    settings[0] = '\n';
    settings[1 + fread(settings + 1, 1, sizeof settings - 2, file)] = 0;
    fclose(file);
    known = now;
}

static long long setting(const char *key, long long otherwise) {
    char line[128];
    snprintf(line, sizeof line, "\n%s ", key);
    pthread_mutex_lock(&lock);
    refresh();
    const char *found = strstr(settings, line);
    long long value = found ? atoll(found + strlen(line)) : otherwise;
    pthread_mutex_unlock(&lock);
    return value;
}

static long long of_gpu(int gpu, const char *name, long long otherwise) {
    char key[64];
    snprintf(key, sizeof key, "gpu%d.%s", gpu, name);
    return setting(key, otherwise);
}

static int asked(const char *function, int *gpu) {
    char key[128];
    snprintf(key, sizeof key, "hang.%s", function);
    while (setting(key, 0))
        usleep(10000);
    snprintf(key, sizeof key, "error.%s", function);
    int code = (int)setting(key, 0);
    if (!code && gpu >= gpus && gpu < gpus + MOST)
        code = (int)of_gpu(*gpu, "lost", 0);
    return code ? code : (int)setting("error.all", 0);
}

int nvmlInitWithFlags(unsigned flags) { (void)flags; CHECK(NULL); return (int)setting("init", 0); }
int nvmlShutdown(void) { return 0; }
int nvmlDeviceGetCount_v2(unsigned *out) { CHECK(NULL); *out = (unsigned)setting("count", 2); return 0; }

int nvmlSystemGetDriverVersion(char *out, unsigned size) {
    CHECK(NULL);
    snprintf(out, size, "580.65.06");
    return 0;
}

int nvmlDeviceGetHandleByIndex_v2(unsigned index, int **out) {
    CHECK(&gpus[index]);
    *out = &gpus[index];
    return 0;
}

int nvmlDeviceGetUUID(int *gpu, char *out, unsigned size) {
    CHECK(gpu);
    snprintf(out, size, "GPU-00000000-0000-0000-0000-00000000000%d", *gpu);
    return 0;
}

int nvmlDeviceGetName(int *gpu, char *out, unsigned size) {
    CHECK(gpu);
    int mig = gpu >= instances && gpu < instances + MOST * MOST;
    snprintf(out, size, mig ? "NVIDIA Fake \"1\" MIG 1g.10gb" : "NVIDIA Fake \"1\"");
    return 0;
}

int nvmlDeviceGetUtilizationRates(int *gpu, unsigned *out) {
    CHECK(gpu);
    out[0] = (unsigned)of_gpu(*gpu, "util", 10 * *gpu);
    out[1] = 5;
    return 0;
}

int nvmlDeviceGetEncoderUtilization(int *gpu, unsigned *out, unsigned *period) {
    CHECK(gpu);
    *out = 1, *period = 167000;
    return 0;
}

int nvmlDeviceGetDecoderUtilization(int *gpu, unsigned *out, unsigned *period) {
    CHECK(gpu);
    *out = 2, *period = 167000;
    return 0;
}

ANSWER(nvmlDeviceGetPowerUsage, unsigned, 123456)
ANSWER(nvmlDeviceGetTotalEnergyConsumption, unsigned long long, 9000000001ULL)
ANSWER(nvmlDeviceGetPcieReplayCounter, unsigned, 3)
ANSWER(nvmlDeviceGetCurrentClocksThrottleReasons, unsigned long long, 4)

int nvmlDeviceGetTemperature(int *gpu, int sensor, unsigned *out) {
    CHECK(gpu);
    *out = 40 + (unsigned)sensor;
    return 0;
}

int nvmlDeviceGetClockInfo(int *gpu, int clock, unsigned *out) {
    CHECK(gpu);
    *out = 1000 + (unsigned)clock;
    return 0;
}

struct memory { unsigned long long total, free, used; };
int nvmlDeviceGetMemoryInfo(int *gpu, struct memory *out) {
    CHECK(gpu);
    *out = (struct memory){80ULL << 30, 70ULL << 30, 10ULL << 30};
    return 0;
}

#ifndef OLD
struct pci { char legacy[16]; unsigned domain, bus, device, id, subsystem; char id_text[32]; };
int nvmlDeviceGetPciInfo_v3(int *gpu, struct pci *out) {
    CHECK(gpu);
    snprintf(out->id_text, sizeof out->id_text, "00000000:%02X:00.0", 27 + *gpu);
    return 0;
}

struct memory_v2 { unsigned version; unsigned long long total, reserved, free, used; };
int nvmlDeviceGetMemoryInfo_v2(int *gpu, struct memory_v2 *out) {
    CHECK(gpu);
    if (out->version != (sizeof *out | 2U << 24))
        return 25;
    int mig = gpu >= instances && gpu < instances + MOST * MOST;
    unsigned long long total = mig ? 10ULL << 30 : 80ULL << 30;
    *out = (struct memory_v2){out->version, total, 1ULL << 29, total - (1ULL << 30), 1ULL << 29};
    return 0;
}

ANSWER(nvmlDeviceGetCurrentClocksEventReasons, unsigned long long, 4)

int nvmlDeviceGetRemappedRows(int *gpu, unsigned *out, unsigned *bad, unsigned *pending, unsigned *failure) {
    CHECK(gpu);
    *out = 1, *bad = 2, *pending = 0, *failure = 0;
    return 0;
}

int nvmlDeviceGetMigMode(int *gpu, unsigned *out, unsigned *pending) {
    CHECK(gpu);
    *out = *pending = of_gpu(*gpu, "mig", 0) > 0;
    return 0;
}

ANSWER(nvmlDeviceGetMaxMigDeviceCount, unsigned, 7)

int nvmlDeviceGetMigDeviceHandleByIndex(int *gpu, unsigned index, int **out) {
    CHECK(gpu);
    if (index >= (unsigned)of_gpu(*gpu, "mig", 0))
        return 6;
    *out = &instances[*gpu * MOST + (int)index];
    **out = 7 + (int)index;
    return 0;
}

int nvmlDeviceGetGpuInstanceId(int *instance, unsigned *out) {
    CHECK(instance);
    *out = (unsigned)*instance;
    return 0;
}
#endif

int nvmlDeviceGetTotalEccErrors(int *gpu, int error, int counter, unsigned long long *out) {
    CHECK(gpu);
    *out = 10ULL * (unsigned)error + (unsigned)counter;
    return 0;
}

int nvmlDeviceGetViolationStatus(int *gpu, int policy, unsigned long long *out) {
    CHECK(gpu);
    out[0] = 0, out[1] = 1000000000ULL * (unsigned)(policy + 1);
    return 0;
}

struct value { unsigned field, scope; long long time, latency; int type, code; unsigned long long value; };
int nvmlDeviceGetFieldValues(int *gpu, int count, struct value *out) {
    CHECK(gpu);
    for (int i = 0; i < count; i++)
        out[i].type = 1, out[i].code = (int)setting("field.code", 0), out[i].value = 55;
    return 0;
}

int nvmlDeviceGetSupportedEventTypes(int *gpu, unsigned long long *out) { CHECK(gpu); *out = 8; return 0; }
int nvmlEventSetCreate(int **out) { CHECK(NULL); *out = gpus; return 0; }
int nvmlEventSetFree(int *events) { (void)events; return 0; }
int nvmlDeviceRegisterEvents(int *gpu, unsigned long long types, int *events) {
    (void)types, (void)events;
    CHECK(gpu);
    return 0;
}

struct event { int *gpu; unsigned long long type, data; unsigned instance, compute; };
int nvmlEventSetWait_v2(int *events, struct event *out, unsigned milliseconds) {
    (void)events;
    for (unsigned waited = 0; waited < milliseconds; waited += 10) {
        CHECK(NULL);
        for (int gpu = 0; gpu < MOST; gpu++) {
            long long xid = of_gpu(gpu, "xid", 0);
            if (xid == last_xid[gpu])
                continue;
            last_xid[gpu] = xid;
            *out = (struct event){&gpus[gpu], 8, (unsigned long long)xid, 0, 0};
            return 0;
        }
        usleep(10000);
    }
    return 10;
}
