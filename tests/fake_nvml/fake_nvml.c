/*
 * A stand-in for libnvidia-ml.so.1, so that the real nvidia-ml-py and the real probe run on machines without a GPU. It has the calls that the
 * probe makes, written from NVML's public behaviour: argument order, struct layouts, error numbers. No header of NVIDIA's is used.
 *
 * The cards come from the text file that $FAKE_NVML_STATE names, or else from the file `world` beside the library. A test changes the world by
 * renaming a new file over it: it is read again when it changed. One item a line, the first word says what; `world.py` writes such files.
 *
 *     driver VERSION
 *     init CODE                       nvmlInit answers CODE
 *     topo A B LEVEL                  closeness of the cards with these indexes; 50 where nothing is said
 *     nvlink A LINK B                 a link of card A to card B; B -1 is a switch
 *     event SEQ UUID TYPE DATA [GI CI]  happens when it is added; TYPE 8 is an Xid, DATA its number
 *     gpu UUID                        begins a card; the lines below belong to it
 *     name TEXT / bus ADDRESS / numa NODE / cc MAJOR MINOR
 *     mem TOTAL USED RESERVED         bytes; the first version of the call counts RESERVED as used
 *     util PERCENT / temp CELSIUS / power MILLIWATTS / mode COMPUTE_MODE / recovery ACTION
 *     ecc UNCORRECTED / remap PENDING FAILED / retired_pending 0|1
 *     proc KIND PID BYTES [GI CI]     KIND is C(ompute), G(raphics) or M(PS); BYTES -1: the driver does not say
 *     mig CURRENT PENDING             without it the card cannot be cut
 *     migdev UUID GI CI SLICES TOTAL USED   a slice; UUID - leaves the next number empty
 *     events 0|1                      whether the card can report events
 *     lost 1                          every call about the card answers GPU_IS_LOST
 *
 * These say something about one FUNCTION, or * for all; before the first card for every call, below a card for the calls about that card:
 *
 *     err FUNCTION CODE               it answers CODE
 *     delay FUNCTION MILLISECONDS     it takes so long; other threads go on
 *     crash FUNCTION                  it ends the process with SIGSEGV
 *     say FUNCTION                    it prints a line to standard output, as a chatty driver may
 *
 * Lines `UUID PID BYTES` in the file of the same name with .procs behind it are compute processes too, on a card or a slice, while they live.
 *
 *     cc -shared -fPIC -Wl,-soname,libnvidia-ml.so.1 -o libnvidia-ml.so.1 fake_nvml.c -ldl -lpthread
 *
 * -DFAKE_DRIVER=470 or 510 leaves out what drivers of that age do not have.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#ifndef FAKE_DRIVER
#define FAKE_DRIVER 580
#endif
#define TEXT_OF_(x) #x
#define TEXT_OF(x) TEXT_OF_(x)
#define EXPORT __attribute__((visibility("default")))

enum {
    SUCCESS = 0, UNINITIALIZED = 1, INVALID_ARGUMENT = 2, NOT_SUPPORTED = 3, NO_PERMISSION = 4, NOT_FOUND = 6, INSUFFICIENT_SIZE = 7,
    DRIVER_NOT_LOADED = 9, TIMEOUT = 10, LIBRARY_NOT_FOUND = 12, GPU_IS_LOST = 15, RESET_REQUIRED = 16, OPERATING_SYSTEM = 17,
    LIB_RM_VERSION_MISMATCH = 18, ARGUMENT_VERSION_MISMATCH = 25, GPU_NOT_FOUND = 28, UNKNOWN = 999
};
enum { MAX_CARDS = 64, MAX_PROCESSES = 64, MAX_SLICES = 7, MAX_RULES = 256, MAX_PAIRS = 2016, LINKS_OF_CARD = 18, MAX_LINKS = 64 * 18, MAX_EVENTS = 1024 };
enum { NOWHERE = -1, ANY_SWITCH = -1, XID = 8, RECOVERY_FIELD = 230, SWITCH = 2, NODE_SCOPE = 0, UNCORRECTED = 1 };

typedef unsigned int u32;
typedef unsigned long long u64;

/* ------------------------------------------------------------------------------------------ structs as the driver lays them out */

typedef struct { u64 total, free, used; } memory_v1;
typedef struct { u32 version; u64 total, reserved, free, used; } memory_v2;
typedef struct { u32 gpu, memory; } utilization;
typedef struct { u32 pid; u64 used; u32 gpu_instance, compute_instance; } process;
typedef struct { char legacy_address[16]; u32 domain, bus, device, device_id, subsystem_id; char address[32]; } pci_info;
typedef struct { u32 processors, copy, decoders, encoders, jpeg, flow, gpu_slices, compute_slices; u64 memory_mb; } attributes;
typedef struct { u32 field, scope; long long time, latency; u32 type; int code; union { u32 number; u64 wide; } value; } field_value;
typedef struct { void *device; u64 type, data; u32 gpu_instance, compute_instance; } event_data;

/* ---------------------------------------------------------------------------------------------------------------------- the world */

typedef struct { char verb[24], function[64]; int value, card; } rule;
typedef struct { char kind; u32 pid; long long used; u32 gpu_instance, compute_instance; } listed;
typedef struct { char uuid[80]; u32 gpu_instance, compute_instance, slices; u64 total, used; } slice;
typedef struct {
    char uuid[80], name[80], address[32];
    u64 total, reserved, used, ecc_uncorrected;
    u32 utilization, temperature, power, mode, recovery, cc_major, cc_minor, retired_pending, remap_pending, remap_failed;
    int numa, has_mig, is_lost, has_events;
    u32 mig_current, mig_pending;
    int process_count, slice_count;
    listed processes[MAX_PROCESSES];
    slice slices[MAX_SLICES];
} card;
typedef struct { int one, other; u32 level; } closeness;
typedef struct { int from; u32 number; int to; } nvlink;
typedef struct { u64 sequence; char uuid[80]; u64 type, data; u32 gpu_instance, compute_instance; } happened;
typedef struct { char uuid[80]; u32 pid; u64 used; } living;

static struct {
    char driver[64];
    int init_code, bad_line;
    int card_count, rule_count, pair_count, link_count, event_count;
    card cards[MAX_CARDS];
    rule rules[MAX_RULES];
    closeness pairs[MAX_PAIRS];
    nvlink links[MAX_LINKS];
    happened events[MAX_EVENTS];
} world;
static living lives[MAX_EVENTS];
static int life_count, open_count;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;

static void place_of_world(char *path, const char *ending) {
    Dl_info here;
    const char *named = getenv("FAKE_NVML_STATE");
    if (named) snprintf(path, PATH_MAX, "%s%s", named, ending);
    else if (dladdr((void *)place_of_world, &here))
        snprintf(path, PATH_MAX, "%.*s/world%s", (int)(strrchr(here.dli_fname, '/') - here.dli_fname), here.dli_fname, ending);
}

static int add_card(const char *rest) {
    if (world.card_count == MAX_CARDS) return 0;
    int index = world.card_count++;
    card *c = &world.cards[index];
    *c = (card){.name = "Fake GPU", .total = 80ull << 30, .cc_major = 9, .temperature = 30, .power = 60000, .numa = NOWHERE, .has_events = 1};
    snprintf(c->address, sizeof c->address, "00000000:%02X:00.0", index + 1);
    return sscanf(rest, "%79s", c->uuid) == 1;
}

static int add_rule(const char *verb, const char *rest) {
    if (world.rule_count == MAX_RULES) return 0;
    rule *r = &world.rules[world.rule_count++];
    *r = (rule){.card = world.card_count - 1};
    snprintf(r->verb, sizeof r->verb, "%s", verb);
    return sscanf(rest, "%63s %d", r->function, &r->value) >= 1;
}

static int add_event(const char *rest) {
    if (world.event_count == MAX_EVENTS) return 0;
    happened *e = &world.events[world.event_count++];
    *e = (happened){.gpu_instance = ~0u, .compute_instance = ~0u};
    return sscanf(rest, "%llu %79s %llu %llu %u %u", &e->sequence, e->uuid, &e->type, &e->data, &e->gpu_instance, &e->compute_instance) >= 4;
}

static int add_pair(const char *rest) {
    if (world.pair_count == MAX_PAIRS) return 0;
    closeness *p = &world.pairs[world.pair_count++];
    return sscanf(rest, "%d %d %u", &p->one, &p->other, &p->level) == 3;
}

static int add_link(const char *rest) {
    if (world.link_count == MAX_LINKS) return 0;
    nvlink *l = &world.links[world.link_count++];
    return sscanf(rest, "%d %u %d", &l->from, &l->number, &l->to) == 3;
}

static int add_process(card *c, const char *rest) {
    if (c->process_count == MAX_PROCESSES) return 0;
    listed *p = &c->processes[c->process_count++];
    *p = (listed){.gpu_instance = ~0u, .compute_instance = ~0u};
    return sscanf(rest, "%c %u %lld %u %u", &p->kind, &p->pid, &p->used, &p->gpu_instance, &p->compute_instance) >= 3;
}

static int add_slice(card *c, const char *rest) {
    if (c->slice_count == MAX_SLICES) return 0;
    slice *s = &c->slices[c->slice_count++];
    int found = sscanf(rest, "%79s %u %u %u %llu %llu", s->uuid, &s->gpu_instance, &s->compute_instance, &s->slices, &s->total, &s->used);
    return found == 6 || !strcmp(s->uuid, "-");
}

#define IS(word) (!strcmp(key, word))

static int read_card_line(card *c, const char *key, const char *rest) {
    if (IS("name")) return sscanf(rest, "%79[^\n]", c->name) == 1;
    if (IS("bus")) return sscanf(rest, "%31s", c->address) == 1;
    if (IS("numa")) return sscanf(rest, "%d", &c->numa) == 1;
    if (IS("cc")) return sscanf(rest, "%u %u", &c->cc_major, &c->cc_minor) == 2;
    if (IS("mem")) return sscanf(rest, "%llu %llu %llu", &c->total, &c->used, &c->reserved) == 3;
    if (IS("util")) return sscanf(rest, "%u", &c->utilization) == 1;
    if (IS("temp")) return sscanf(rest, "%u", &c->temperature) == 1;
    if (IS("power")) return sscanf(rest, "%u", &c->power) == 1;
    if (IS("mode")) return sscanf(rest, "%u", &c->mode) == 1;
    if (IS("recovery")) return sscanf(rest, "%u", &c->recovery) == 1;
    if (IS("ecc")) return sscanf(rest, "%llu", &c->ecc_uncorrected) == 1;
    if (IS("remap")) return sscanf(rest, "%u %u", &c->remap_pending, &c->remap_failed) == 2;
    if (IS("retired_pending")) return sscanf(rest, "%u", &c->retired_pending) == 1;
    if (IS("events")) return sscanf(rest, "%d", &c->has_events) == 1;
    if (IS("lost")) return sscanf(rest, "%d", &c->is_lost) == 1;
    if (IS("mig")) return c->has_mig = sscanf(rest, "%u %u", &c->mig_current, &c->mig_pending) == 2;
    if (IS("migdev")) return add_slice(c, rest);
    if (IS("proc")) return add_process(c, rest);
    return 0;
}

/* Whether the line was understood. */
static int read_line(const char *line) {
    char key[24] = "";
    int length = 0;
    if (sscanf(line, " %23s %n", key, &length) < 1) return 1;
    const char *rest = line + length;
    if (IS("driver")) return sscanf(rest, "%63s", world.driver) == 1;
    if (IS("init")) return sscanf(rest, "%d", &world.init_code) == 1;
    if (IS("gpu")) return add_card(rest);
    if (IS("topo")) return add_pair(rest);
    if (IS("nvlink")) return add_link(rest);
    if (IS("event")) return add_event(rest);
    if (IS("err") || IS("delay") || IS("crash") || IS("say")) return add_rule(key, rest);
    return world.card_count && read_card_line(&world.cards[world.card_count - 1], key, rest);
}

static void read_world(FILE *file) {
    char line[512];
    memset(&world, 0, sizeof world);
    strcpy(world.driver, TEXT_OF(FAKE_DRIVER) ".0");
    if (!file) world.init_code = DRIVER_NOT_LOADED;
    for (int number = 1; file && fgets(line, sizeof line, file); number++) {
        if (read_line(line)) continue;
        fprintf(stderr, "fake_nvml: line %d of the world is not understood: %s", number, line);
        world.bad_line = number;
    }
}

static void read_lives(FILE *file) {
    char line[256];
    life_count = 0;
    while (file && life_count < MAX_EVENTS && fgets(line, sizeof line, file)) {
        living *l = &lives[life_count];
        life_count += sscanf(line, "%79s %u %llu", l->uuid, &l->pid, &l->used) == 3;
    }
}

/* Reads the file unless it is the one read last. */
static void refresh(const char *ending, struct stat *last, void (*read)(FILE *)) {
    char path[PATH_MAX] = "";
    struct stat now = {0};
    place_of_world(path, ending);
    if (stat(path, &now)) memset(&now, 0, sizeof now);
    if (now.st_ino == last->st_ino && now.st_size == last->st_size && !memcmp(&now.st_mtim, &last->st_mtim, sizeof now.st_mtim) && last->st_nlink)
        return;
    FILE *file = fopen(path, "re");
    read(file);
    if (file) fclose(file);
    *last = now;
}

/* ----------------------------------------------------------------------------------------------------------- how every call begins */

/* A handle names a uuid, so that it means the same card when the order changes. A slice's goes stale with the slice. */
typedef struct handle { char uuid[80]; struct handle *next; } handle;
typedef struct { card *card; slice *slice; } device;

static handle *handle_for(const char *uuid) {
    static handle *first;
    for (handle *h = first; h; h = h->next)
        if (!strcmp(h->uuid, uuid)) return h;
    handle *h = calloc(1, sizeof *h);
    snprintf(h->uuid, sizeof h->uuid, "%s", uuid);
    h->next = first;
    return first = h;
}

static device find_device(const char *uuid) {
    for (card *c = world.cards; c < world.cards + world.card_count; c++) {
        if (!strcmp(c->uuid, uuid)) return (device){c, NULL};
        for (slice *s = c->slices; s < c->slices + c->slice_count; s++)
            if (!strcmp(s->uuid, uuid)) return (device){c, s};
    }
    return (device){NULL, NULL};
}

static const rule *find_rule(const char *verb, const char *function, int card_index) {
    for (rule *r = world.rules; r < world.rules + world.rule_count; r++)
        if (!strcmp(r->verb, verb) && (r->card == NOWHERE || r->card == card_index))
            if (!strcmp(r->function, function) || !strcmp(r->function, "*")) return r;
    return NULL;
}

static void look(const handle *h, device *d) {
    static struct stat world_seen, lives_seen;
    refresh("", &world_seen, read_world);
    refresh(".procs", &lives_seen, read_lives);
    *d = h ? find_device(h->uuid) : (device){NULL, NULL};
}

static int error_of(const char *function, const card *c) {
    const rule *r = find_rule("err", function, c ? (int)(c - world.cards) : NOWHERE);
    return r ? r->value : c && c->is_lost ? GPU_IS_LOST : SUCCESS;
}

/* Takes the lock, does what the rules say and finds the device. Whatever it answers, `end` gives the lock back. */
static int begin(const char *function, const handle *h, device *d) {
    pthread_mutex_lock(&mutex);
    look(h, d);
    int index = d->card ? (int)(d->card - world.cards) : NOWHERE;
    if (find_rule("say", function, index)) dprintf(1, "NVRM: hello from %s\n", function);
    if (find_rule("crash", function, index)) raise(SIGSEGV);
    const rule *delay = find_rule("delay", function, index);
    if (delay) {
        int milliseconds = delay->value;
        pthread_mutex_unlock(&mutex);
        usleep(milliseconds * 1000u);
        pthread_mutex_lock(&mutex);
        look(h, d);
    }
    if (world.bad_line) return UNKNOWN;
    if (!open_count && strcmp(function, "nvmlInitWithFlags")) return UNINITIALIZED;
    if (h && !d->card) return strncmp(h->uuid, "MIG", 3) ? GPU_IS_LOST : INVALID_ARGUMENT;
    return error_of(function, d->card);
}

static int end(int code) {
    pthread_mutex_unlock(&mutex);
    return code;
}

#define BEGIN(h) \
    device d; \
    int code_ = begin(__func__, h, &d); \
    if (code_ != SUCCESS) return end(code_)
#define BEGIN_CARD(h) \
    BEGIN(h); \
    if (d.slice) return end(INVALID_ARGUMENT); \
    card *c = d.card
#define GIVE(pointer, value) \
    do { \
        *(pointer) = (value); \
        return end(SUCCESS); \
    } while (0)

static int give_text(char *to, u32 size, const char *text) {
    if (strlen(text) >= size) return end(INSUFFICIENT_SIZE);
    strcpy(to, text);
    return end(SUCCESS);
}

/* ------------------------------------------------------------------------------------------------------------------ the library */

EXPORT int nvmlInitWithFlags(u32 flags) {
    (void)flags;
    BEGIN(NULL);
    open_count += world.init_code == SUCCESS;
    return end(world.init_code);
}

EXPORT int nvmlShutdown(void) {
    BEGIN(NULL);
    open_count--;
    return end(SUCCESS);
}

EXPORT const char *nvmlErrorString(int code) {
    switch (code) {
    case NOT_SUPPORTED: return "Not Supported";
    case NO_PERMISSION: return "Insufficient Permissions";
    case NOT_FOUND: return "Not Found";
    case DRIVER_NOT_LOADED: return "Driver Not Loaded";
    case TIMEOUT: return "Timeout";
    case GPU_IS_LOST: return "GPU is lost";
    case RESET_REQUIRED: return "GPU requires reset";
    case LIB_RM_VERSION_MISMATCH: return "Driver/library version mismatch";
    default: return "Unknown Error";
    }
}

EXPORT int nvmlSystemGetDriverVersion(char *to, u32 size) { BEGIN(NULL); return give_text(to, size, world.driver); }
EXPORT int nvmlDeviceGetCount_v2(u32 *to) { BEGIN(NULL); GIVE(to, world.card_count); }

EXPORT int nvmlDeviceGetHandleByIndex_v2(u32 index, void **to) {
    BEGIN(NULL);
    if (index >= (u32)world.card_count) return end(INVALID_ARGUMENT);
    int code = error_of(__func__, &world.cards[index]);
    *to = handle_for(world.cards[index].uuid);
    return end(code);
}

/* ------------------------------------------------------------------------------------------------------------------- what it is */

EXPORT int nvmlDeviceGetUUID(handle *h, char *to, u32 size) { BEGIN(h); return give_text(to, size, h->uuid); }
EXPORT int nvmlDeviceGetCudaComputeCapability(handle *h, int *a, int *b) { BEGIN(h); *a = (int)d.card->cc_major; GIVE(b, (int)d.card->cc_minor); }

EXPORT int nvmlDeviceGetName(handle *h, char *to, u32 size) {
    char text[160];
    BEGIN(h);
    snprintf(text, sizeof text, "%s", d.card->name);
    if (d.slice) snprintf(text, sizeof text, "%s MIG %ug.%llugb", d.card->name, d.slice->slices, (d.slice->total + (1 << 30) - 1) >> 30);
    return give_text(to, size, text);
}

static void give_address(pci_info *to, const char *address) {
    memset(to, 0, sizeof *to);
    sscanf(address, "%x:%x:%x", &to->domain, &to->bus, &to->device);
    snprintf(to->address, sizeof to->address, "%s", address);
    snprintf(to->legacy_address, sizeof to->legacy_address, "%04X:%02X:%02X.0", to->domain & 0xffff, to->bus & 0xff, to->device & 0xff);
}

EXPORT int nvmlDeviceGetPciInfo_v3(handle *h, pci_info *to) {
    BEGIN(h);
    give_address(to, d.card->address);
    return end(SUCCESS);
}

EXPORT int nvmlDeviceGetMemoryAffinity(handle *h, u32 size, unsigned long *to, int scope) {
    BEGIN_CARD(h);
    u32 bits = 8 * sizeof *to;
    if (c->numa == NOWHERE) return end(NOT_SUPPORTED);
    if (!size || scope != NODE_SCOPE || (u32)c->numa >= size * bits) return end(INVALID_ARGUMENT);
    memset(to, 0, size * sizeof *to);
    to[(u32)c->numa / bits] = 1ul << ((u32)c->numa % bits);
    return end(SUCCESS);
}

EXPORT int nvmlDeviceGetTopologyCommonAncestor(handle *h, handle *other, u32 *to) {
    BEGIN_CARD(h);
    device e = find_device(other->uuid);
    int one = (int)(c - world.cards), two = e.card ? (int)(e.card - world.cards) : NOWHERE;
    if (two == NOWHERE || e.card->is_lost) return end(GPU_IS_LOST);
    u32 level = one == two ? 0 : 50;
    for (closeness *p = world.pairs; p < world.pairs + world.pair_count; p++)
        if ((p->one == one && p->other == two) || (p->one == two && p->other == one)) level = p->level;
    GIVE(to, level);
}

static const nvlink *find_link(const card *c, u32 number) {
    for (nvlink *l = world.links; l < world.links + world.link_count; l++)
        if (l->from == c - world.cards && l->number == number) return l;
    return NULL;
}

EXPORT int nvmlDeviceGetNvLinkState(handle *h, u32 link, u32 *to) {
    BEGIN_CARD(h);
    if (link >= LINKS_OF_CARD) return end(INVALID_ARGUMENT);
    if (!world.link_count) return end(NOT_SUPPORTED);
    GIVE(to, find_link(c, link) != NULL);
}

EXPORT int nvmlDeviceGetNvLinkRemoteDeviceType(handle *h, u32 link, u32 *to) {
    BEGIN_CARD(h);
    const nvlink *l = find_link(c, link);
    if (!l) return end(INVALID_ARGUMENT);
    GIVE(to, l->to == ANY_SWITCH ? SWITCH : 0);
}

EXPORT int nvmlDeviceGetNvLinkRemotePciInfo_v2(handle *h, u32 link, pci_info *to) {
    BEGIN_CARD(h);
    const nvlink *l = find_link(c, link);
    if (!l || l->to >= world.card_count) return end(INVALID_ARGUMENT);
    give_address(to, l->to == ANY_SWITCH ? "00000000:C0:00.0" : world.cards[l->to].address);
    return end(SUCCESS);
}

/* --------------------------------------------------------------------------------------------------------------- how much is used */

/* A dead process that nobody has waited for yet has no memory any more. */
static int is_alive(u32 pid) {
    char path[64], text[512] = "";
    snprintf(path, sizeof path, "/proc/%u/stat", pid);
    FILE *file = fopen(path, "re");
    if (!file) return 0;
    if (!fgets(text, sizeof text, file)) text[0] = 0;
    fclose(file);
    const char *state = strrchr(text, ')');
    return state && state[1] && state[2] != 'Z' && state[2] != 'X';
}

static const slice *slice_of(const card *c, const char *uuid) {
    for (const slice *s = c->slices; s < c->slices + c->slice_count; s++)
        if (!strcmp(s->uuid, uuid)) return s;
    return NULL;
}

/* Whether it is on the device; what is on a slice is on its card too. */
static int lives_on(const living *l, const device *d) {
    if (d->slice) return !strcmp(l->uuid, d->slice->uuid) && is_alive(l->pid);
    return (!strcmp(l->uuid, d->card->uuid) || slice_of(d->card, l->uuid)) && is_alive(l->pid);
}

static u64 used_on(const device *d) {
    u64 used = d->slice ? d->slice->used : d->card->used;
    for (living *l = lives; l < lives + life_count; l++)
        if (lives_on(l, d)) used += l->used;
    return used;
}

EXPORT int nvmlDeviceGetMemoryInfo(handle *h, memory_v1 *to) {
    BEGIN(h);
    u64 used = used_on(&d) + (d.slice ? 0 : d.card->reserved), total = d.slice ? d.slice->total : d.card->total;
    GIVE(to, ((memory_v1){total, total - used, used}));
}

#if FAKE_DRIVER >= 510
EXPORT int nvmlDeviceGetMemoryInfo_v2(handle *h, memory_v2 *to) {
    BEGIN(h);
    if (to->version != (2u << 24 | sizeof *to)) return end(ARGUMENT_VERSION_MISMATCH);
    u64 used = used_on(&d), total = d.slice ? d.slice->total : d.card->total, reserved = d.slice ? 0 : d.card->reserved;
    GIVE(to, ((memory_v2){to->version, total, reserved, total - used - reserved, used}));
}
#endif

static void list(const process *found, u32 *count, u32 room, process *to) {
    if (to && *count < room) to[*count] = *found;
    ++*count;
}

static int give_processes(const device *d, char kind, u32 *size, process *to) {
    u32 count = 0, room = *size;
    for (listed *p = d->card->processes; p < d->card->processes + d->card->process_count; p++) {
        if (p->kind != kind) continue;
        if (d->slice && (p->gpu_instance != d->slice->gpu_instance || p->compute_instance != d->slice->compute_instance)) continue;
        list(&(process){p->pid, (u64)p->used, p->gpu_instance, p->compute_instance}, &count, room, to);
    }
    for (living *l = lives; kind == 'C' && l < lives + life_count; l++) {
        const slice *s = slice_of(d->card, l->uuid);
        if (!lives_on(l, d)) continue;
        list(&(process){l->pid, l->used, s ? s->gpu_instance : ~0u, s ? s->compute_instance : ~0u}, &count, room, to);
    }
    *size = count;
    return end(count > room ? INSUFFICIENT_SIZE : SUCCESS);
}

#define PROCESSES(KIND, VERSION) \
    EXPORT int nvmlDeviceGet##KIND##RunningProcesses_##VERSION(handle *h, u32 *size, process *to) { \
        BEGIN(h); \
        return give_processes(&d, #KIND[0], size, to); \
    }

PROCESSES(Compute, v2)
PROCESSES(Graphics, v2)
PROCESSES(MPSCompute, v2)
#if FAKE_DRIVER >= 510
PROCESSES(Compute, v3)
PROCESSES(Graphics, v3)
PROCESSES(MPSCompute, v3)
#endif

EXPORT int nvmlDeviceGetUtilizationRates(handle *h, utilization *to) {
    BEGIN(h);
    if (d.card->mig_current) return end(NOT_SUPPORTED);
    GIVE(to, ((utilization){d.card->utilization, 0}));
}

EXPORT int nvmlDeviceGetTemperature(handle *h, int sensor, u32 *to) {
    BEGIN_CARD(h);
    if (sensor) return end(INVALID_ARGUMENT);
    GIVE(to, c->temperature);
}

EXPORT int nvmlDeviceGetPowerUsage(handle *h, u32 *to) { BEGIN_CARD(h); GIVE(to, c->power); }

/* ------------------------------------------------------------------------------------------------------------------------ slices */

EXPORT int nvmlDeviceGetMigMode(handle *h, u32 *current, u32 *pending) {
    BEGIN_CARD(h);
    if (!c->has_mig) return end(NOT_SUPPORTED);
    *current = c->mig_current;
    GIVE(pending, c->mig_pending);
}

EXPORT int nvmlDeviceGetMaxMigDeviceCount(handle *h, u32 *to) { BEGIN_CARD(h); GIVE(to, c->mig_current ? MAX_SLICES : 0); }

EXPORT int nvmlDeviceGetMigDeviceHandleByIndex(handle *h, u32 index, void **to) {
    BEGIN_CARD(h);
    if (!c->has_mig) return end(NOT_SUPPORTED);
    if (index >= (u32)c->slice_count || !strcmp(c->slices[index].uuid, "-")) return end(NOT_FOUND);
    GIVE(to, handle_for(c->slices[index].uuid));
}

#define OF_SLICE(NAME, FIELD) \
    EXPORT int NAME(handle *h, u32 *to) { \
        BEGIN(h); \
        if (!d.slice) return end(INVALID_ARGUMENT); \
        GIVE(to, d.slice->FIELD); \
    }

OF_SLICE(nvmlDeviceGetGpuInstanceId, gpu_instance)
OF_SLICE(nvmlDeviceGetComputeInstanceId, compute_instance)

EXPORT int nvmlDeviceGetAttributes_v2(handle *h, attributes *to) {
    BEGIN(h);
    if (!d.slice) return end(NOT_SUPPORTED);
    GIVE(to, ((attributes){.gpu_slices = d.slice->slices, .compute_slices = d.slice->slices, .memory_mb = d.slice->total >> 20}));
}

/* ------------------------------------------------------------------------------------------------------------------------ health */

EXPORT int nvmlDeviceGetComputeMode(handle *h, u32 *to) { BEGIN(h); GIVE(to, d.card->mode); }
EXPORT int nvmlDeviceGetRetiredPagesPendingStatus(handle *h, u32 *to) { BEGIN_CARD(h); GIVE(to, c->retired_pending); }

EXPORT int nvmlDeviceGetTotalEccErrors(handle *h, int type, int counter, u64 *to) {
    BEGIN_CARD(h);
    (void)counter;
    GIVE(to, type == UNCORRECTED ? c->ecc_uncorrected : 0);
}

EXPORT int nvmlDeviceGetRemappedRows(handle *h, u32 *correctable, u32 *uncorrectable, u32 *pending, u32 *failed) {
    BEGIN_CARD(h);
    if (c->mig_current) return end(NOT_SUPPORTED);
    *correctable = *uncorrectable = 0;
    *pending = c->remap_pending;
    GIVE(failed, c->remap_failed);
}

EXPORT int nvmlDeviceGetFieldValues(handle *h, int count, field_value *values) {
    BEGIN_CARD(h);
    for (field_value *v = values; v < values + count; v++) {
        int known = v->field == RECOVERY_FIELD && FAKE_DRIVER >= 580;
        v->code = known ? SUCCESS : NOT_SUPPORTED;
        v->value.number = c->recovery;
    }
    return end(SUCCESS);
}

/* ------------------------------------------------------------------------------------------------------------------------ events */

typedef struct { u64 last; int count; char uuids[MAX_CARDS][80]; } event_set;

EXPORT int nvmlEventSetCreate(void **to) {
    BEGIN(NULL);
    event_set *set = calloc(1, sizeof *set);
    for (happened *e = world.events; e < world.events + world.event_count; e++)
        if (e->sequence > set->last) set->last = e->sequence; /* what happened before is over */
    GIVE(to, set);
}

EXPORT int nvmlEventSetFree(event_set *set) {
    BEGIN(NULL);
    free(set);
    return end(SUCCESS);
}

EXPORT int nvmlDeviceGetSupportedEventTypes(handle *h, u64 *to) { BEGIN_CARD(h); GIVE(to, c->has_events ? XID | 7 : 0); }

EXPORT int nvmlDeviceRegisterEvents(handle *h, u64 types, event_set *set) {
    BEGIN_CARD(h);
    if (!c->has_events || types & ~(XID | 7ull)) return end(NOT_SUPPORTED);
    if (set->count == MAX_CARDS) return end(UNKNOWN);
    if (types & XID) snprintf(set->uuids[set->count++], sizeof set->uuids[0], "%s", c->uuid);
    return end(SUCCESS);
}

/* The oldest event that the set has not told; NULL also where only a card is lost, and then *lost. */
static happened *next_event(event_set *set, int *lost) {
    happened *next = NULL;
    for (int i = 0; i < set->count; i++) {
        device d = find_device(set->uuids[i]);
        *lost |= !d.card || d.card->is_lost;
        for (happened *e = world.events; e < world.events + world.event_count; e++)
            if (!strcmp(e->uuid, set->uuids[i]) && e->sequence > set->last && (!next || e->sequence < next->sequence)) next = e;
    }
    return next;
}

EXPORT int nvmlEventSetWait_v2(event_set *set, event_data *to, u32 timeout_ms) {
    for (long waited_ms = 0;; waited_ms += 5) {
        BEGIN(NULL);
        int lost = 0;
        happened *e = next_event(set, &lost);
        if (e) {
            set->last = e->sequence;
            GIVE(to, ((event_data){handle_for(e->uuid), e->type, e->data, e->gpu_instance, e->compute_instance}));
        }
        if (lost || waited_ms >= timeout_ms) return end(lost ? GPU_IS_LOST : TIMEOUT);
        end(SUCCESS);
        usleep(5000);
    }
}
