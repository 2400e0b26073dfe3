/*
 * A small stand-in for libnvidia-ml.so.1, so that the real nvidia-ml-py and the real probe run on machines without a GPU. It has only the
 * calls that the probe makes, written from NVML's public behaviour: argument order, struct layouts, error numbers.
 *
 * The cards come from the file `world` beside the library, read again at every call; a test changes the world by renaming a new file over
 * it. One item a line, the first word says what:
 *
 *     init CODE                     nvmlInit answers CODE
 *     delay FUNCTION MILLISECONDS   the call takes that long
 *     crash FUNCTION                the call ends the process with SIGSEGV
 *     say FUNCTION                  the call prints a line to standard output, as a chatty driver may
 *     gpu UUID                      begins a card; the lines below belong to it
 *     name TEXT
 *     memory TOTAL RESERVED USED    bytes; the first version of the call counts RESERVED as used
 *     process KIND PID BYTES        KIND is Compute, Graphics or MPSCompute; BYTES -1: the driver does not say
 *     utilization PERCENT
 *     temperature CELSIUS
 *     mig CURRENT PENDING
 *     fail FUNCTION CODE            the call answers CODE for this card; * for every call, also the one that gives its handle
 *
 *     cc -shared -fPIC -Wl,-soname,libnvidia-ml.so.1 -o libnvidia-ml.so.1 fake_nvml.c -ldl
 *
 * -DOLD_DRIVER leaves out what drivers before 510 do not have: the second memory call and the third process calls.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { SUCCESS = 0, INVALID_ARGUMENT = 2, NOT_SUPPORTED = 3, INSUFFICIENT_SIZE = 7, UNKNOWN = 999 };
enum { MAX_CARDS = 32, MAX_PROCESSES = 64, MAX_RULES = 16 };

typedef unsigned int u32;
typedef unsigned long long u64;
typedef struct { u64 total, free, used; } memory_v1;
typedef struct { u32 version; u64 total, reserved, free, used; } memory_v2;
typedef struct { u32 gpu, memory; } utilization;
typedef struct { u32 pid; u64 used; u32 gpu_instance, compute_instance; } process;

typedef struct { char verb[8], function[64]; int value; } rule;
typedef struct { char kind[16]; u32 pid; long long used; } listed;
typedef struct {
    char uuid[80], name[80];
    u64 total, reserved, used;
    int utilization, temperature, mig_current, mig_pending, has_mig;
    int process_count, rule_count;
    listed processes[MAX_PROCESSES];
    rule rules[MAX_RULES];
} card;

static card cards[MAX_CARDS]; /* a handle points into it */
static rule rules[MAX_RULES];
static int card_count, rule_count, init_code;

static FILE *open_world(void) {
    Dl_info here;
    char path[PATH_MAX];
    if (!dladdr((void *)open_world, &here)) return NULL;
    snprintf(path, sizeof path, "%.*s/world", (int)(strrchr(here.dli_fname, '/') - here.dli_fname), here.dli_fname);
    return fopen(path, "r");
}

static void read_line(const char *line) {
    card *c = card_count ? &cards[card_count - 1] : NULL;
    rule r = {.value = 0};
    listed p;
    if (sscanf(line, "init %d", &init_code) == 1) return;
    if (sscanf(line, "%7s %63s %d", r.verb, r.function, &r.value) >= 2 && strstr("delay crash say fail", r.verb)) {
        if (!strcmp(r.verb, "fail") && c && c->rule_count < MAX_RULES) c->rules[c->rule_count++] = r;
        else if (rule_count < MAX_RULES) rules[rule_count++] = r;
    } else if (!strncmp(line, "gpu ", 4) && card_count < MAX_CARDS) {
        c = memset(&cards[card_count++], 0, sizeof *c);
        sscanf(line, "gpu %79s", c->uuid);
    } else if (c) {
        sscanf(line, "name %79[^\n]", c->name);
        sscanf(line, "memory %llu %llu %llu", &c->total, &c->reserved, &c->used);
        sscanf(line, "utilization %d", &c->utilization);
        sscanf(line, "temperature %d", &c->temperature);
        if (sscanf(line, "mig %d %d", &c->mig_current, &c->mig_pending) == 2) c->has_mig = 1;
        if (sscanf(line, "process %15s %u %lld", p.kind, &p.pid, &p.used) == 3) c->processes[c->process_count++ % MAX_PROCESSES] = p;
    }
}

static void read_world(void) {
    char line[512];
    FILE *file = open_world();
    card_count = rule_count = init_code = 0;
    while (file && fgets(line, sizeof line, file)) read_line(line);
    if (file) fclose(file);
}

/* Reads the world and does what its rules say about this call; the code it must answer. */
static int enter(const char *function, const card *c) {
    read_world();
    for (int i = 0; i < rule_count; i++) {
        if (strcmp(rules[i].function, function)) continue;
        if (!strcmp(rules[i].verb, "delay")) usleep(rules[i].value * 1000u);
        if (!strcmp(rules[i].verb, "crash")) raise(SIGSEGV);
        if (!strcmp(rules[i].verb, "say")) dprintf(1, "NVRM: hello from %s\n", function);
    }
    for (int i = 0; c && i < c->rule_count; i++)
        if (!strcmp(c->rules[i].function, function) || !strcmp(c->rules[i].function, "*")) return c->rules[i].value;
    return SUCCESS;
}

#define ENTER(handle) do { int code_ = enter(__func__, handle); if (code_ != SUCCESS) return code_; } while (0)

static int give_text(char *to, u32 size, const char *text) {
    if (strlen(text) >= size) return INSUFFICIENT_SIZE;
    strcpy(to, text);
    return SUCCESS;
}

static int give_processes(const card *c, const char *kind, u32 *size, process *to) {
    u32 count = 0, room = *size;
    for (int i = 0; i < c->process_count; i++) {
        const listed *p = &c->processes[i];
        if (strcmp(p->kind, kind)) continue;
        if (to && count < room) to[count] = (process){p->pid, (u64)p->used, ~0u, ~0u};
        count++;
    }
    *size = count;
    return count > room ? INSUFFICIENT_SIZE : SUCCESS;
}

int nvmlInitWithFlags(u32 flags) { (void)flags; ENTER(NULL); return init_code; }
int nvmlShutdown(void) { ENTER(NULL); return SUCCESS; }
const char *nvmlErrorString(int code) { (void)code; return "an error of the fake"; }
int nvmlDeviceGetCount_v2(u32 *count) { ENTER(NULL); *count = card_count; return SUCCESS; }

int nvmlDeviceGetHandleByIndex_v2(u32 index, card **to) {
    ENTER(&cards[index < MAX_CARDS ? index : 0]);
    if (index >= (u32)card_count) return INVALID_ARGUMENT;
    *to = &cards[index];
    return SUCCESS;
}

int nvmlDeviceGetUUID(card *c, char *to, u32 size) { ENTER(c); return give_text(to, size, c->uuid); }
int nvmlDeviceGetName(card *c, char *to, u32 size) { ENTER(c); return give_text(to, size, c->name); }

int nvmlDeviceGetMemoryInfo(card *c, memory_v1 *to) {
    ENTER(c);
    u64 used = c->used + c->reserved;
    *to = (memory_v1){c->total, c->total - used, used};
    return SUCCESS;
}

int nvmlDeviceGetUtilizationRates(card *c, utilization *to) {
    ENTER(c);
    *to = (utilization){(u32)c->utilization, 0};
    return SUCCESS;
}

int nvmlDeviceGetTemperature(card *c, int sensor, u32 *to) {
    ENTER(c);
    *to = (u32)c->temperature;
    return sensor == 0 ? SUCCESS : INVALID_ARGUMENT;
}

int nvmlDeviceGetMigMode(card *c, u32 *current, u32 *pending) {
    ENTER(c);
    *current = (u32)c->mig_current;
    *pending = (u32)c->mig_pending;
    return c->has_mig ? SUCCESS : NOT_SUPPORTED;
}

#define PROCESSES(KIND, VERSION) \
    int nvmlDeviceGet##KIND##RunningProcesses_##VERSION(card *c, u32 *size, process *to) { \
        ENTER(c); \
        return give_processes(c, #KIND, size, to); \
    }

PROCESSES(Compute, v2)
PROCESSES(Graphics, v2)
PROCESSES(MPSCompute, v2)

#ifndef OLD_DRIVER
PROCESSES(Compute, v3)
PROCESSES(Graphics, v3)
PROCESSES(MPSCompute, v3)

int nvmlDeviceGetMemoryInfo_v2(card *c, memory_v2 *to) {
    ENTER(c);
    if (to->version != (2u << 24 | sizeof *to)) return 25; /* ARGUMENT_VERSION_MISMATCH */
    *to = (memory_v2){to->version, c->total, c->reserved, c->total - c->used - c->reserved, c->used};
    return SUCCESS;
}
#endif
