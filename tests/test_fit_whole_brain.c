/*
 * An image larger than the store is fitted with the bits of any other way: whether it is read in
 * place or inflated, of whatever type and order of bytes, spilled or not. The store stays within its limit,
 * maps are files that others read, and a fit that is interrupted leaves nothing.
 *
 * A phantom of 4,096 voxels and 288 volumes: 2.4 MB as int16, 4.7 as float32; stores of 1 and 2 MB.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <time.h>

#include "dm/dm.h"
#include "dm/fit.h"
#include "test_fit_shell.h"
#include "tests/support/watch.h"

#define SCHEME  DM_TEST_DATA "/hcpsim_s/dwi"
#define DM      DM_BIN_DIR "/dm "
#define PHANTOM DM "phantom --shape 16,16,16 --scheme " SCHEME " --seed 7 "
#define GIVEN   " --bval " SCHEME ".bval --bvec " SCHEME ".bvec --workers 2 "
#define FIXED   "--mask mask.nii --response response.txt "
#define SMALL   "DM_STORE_BYTES=2M "
#define TINY    "DM_STORE_BYTES=1M "
#define LARGE   "DM_STORE_BYTES=512M "

enum { SIDE = 16, N_VOXELS = SIDE * SIDE * SIDE, SMALL_STORE = 2 << 20 };

/* ---- files ---- */

static size_t read_bytes(const char *path, unsigned char **bytes)
{
    struct stat about;
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    assert_int_equal(fstat(fileno(file), &about), 0);
    *bytes = malloc((size_t)about.st_size + 1);
    assert_int_equal(fread(*bytes, 1, (size_t)about.st_size, file), about.st_size);
    fclose(file);
    return (size_t)about.st_size;
}

static void write_bytes(const char *path, const unsigned char *bytes, size_t n)
{
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, n, file), n);
    assert_int_equal(fclose(file), 0);
}

static void assert_same_file(const char *a, const char *b)
{
    unsigned char *first, *second;
    const size_t n = read_bytes(a, &first);
    assert_int_equal(read_bytes(b, &second), n);
    if (memcmp(first, second, n) != 0)
        fail_msg("%s and %s differ", a, b);
    free(first);
    free(second);
}

/* A ball: some groups of voxels are close together, some far apart, and tiles are empty. */
static void write_mask(const char *path)
{
    const dm_grid grid = {.shape = {SIDE, SIDE, SIDE}, .pixdim = {1, 1, 1, 1}};
    dm_volume *mask;
    assert_ok(dm_volume_create(&grid, 1, DM_VOLUME_U8, &mask));
    for (int v = 0; v < N_VOXELS; v++) {
        const double x = v % SIDE - 7.5, y = v / SIDE % SIDE - 7.5, z = v / SIDE / SIDE - 7.5;
        ((unsigned char *)mask->data)[v] = x * x + y * y + z * z < 50;
    }
    assert_ok(dm_volume_write(mask, path, true));
    dm_volume_destroy(mask);
}

/* The values begin a byte later, as a header may say. */
static void write_shifted(const char *from, const char *to)
{
    unsigned char *bytes;
    const size_t n = read_bytes(from, &bytes);
    const float offset = 353;
    bytes = realloc(bytes, n + 1);
    memmove(bytes + 353, bytes + 352, n - 352);
    memcpy(bytes + 108, &offset, sizeof offset);
    write_bytes(to, bytes, n + 1);
    free(bytes);
}

static void swap_each(unsigned char *bytes, size_t n, size_t size)
{
    for (size_t i = 0; i < n; i++, bytes += size)
        for (size_t k = 0; k < size / 2; k++) {
            const unsigned char keep = bytes[k];
            bytes[k] = bytes[size - 1 - k];
            bytes[size - 1 - k] = keep;
        }
}

/* Header and int16 values in the other order of bytes, by the offsets of nifti1.h. */
static void write_swapped(const char *from, const char *to)
{
    unsigned char *bytes;
    const size_t n = read_bytes(from, &bytes);
    swap_each(bytes, 1, 4);
    swap_each(bytes + 40, 8, 2);
    swap_each(bytes + 68, 4, 2);
    swap_each(bytes + 76, 11, 4);
    swap_each(bytes + 252, 2, 2);
    swap_each(bytes + 256, 18, 4);
    swap_each(bytes + 352, (n - 352) / 2, 2);
    write_bytes(to, bytes, n);
    free(bytes);
}

static void make_inputs(void)
{
    assert_runs(PHANTOM "--out i16.nii");
    assert_runs("gzip -1 -k i16.nii");
    assert_runs(PHANTOM "--type float32 --out f32.nii");
    assert_runs("gzip -1 -k f32.nii");
    write_mask("mask.nii");
    assert_runs("echo 1.7e-3 3e-4 3e-4 1000 > response.txt");
}

/* ---- the same bits ---- */

static void assert_spilled(const char *figures)
{
    unsigned char *text;
    const size_t n = read_bytes(figures, &text);
    text[n] = 0;
    const char *at = strstr((char *)text, "\"spilled_bytes\":");
    assert_non_null(at);
    if (atof(at + strlen("\"spilled_bytes\":")) <= 0)
        fail_msg("nothing was spilled: %s", text);
    free(text);
}

static void fit_csd(const char *store, const char *dwi, const char *out)
{
    assert_runs("%s" DM "fit csd" GIVEN FIXED "--dwi %s --out %s --json %s.json", store, dwi, out,
                out);
}

static void assert_same_csd(const char *a, const char *b)
{
    static const char *const names[] = {"csd_sh.nii.gz", "csd_gfa.nii.gz", "csd_iterations.nii.gz",
                                        "response.txt"};
    for (int k = 0; k < 4; k++) {
        char one[64], other[64];
        snprintf(one, sizeof one, "%s/%s", a, names[k]);
        snprintf(other, sizeof other, "%s/%s", b, names[k]);
        assert_same_file(one, other);
    }
}

static void in_place_and_inflated_and_spilled_are_the_same(void **state)
{
    (void)state;
    fit_csd(LARGE, "i16.nii", "i16");
    fit_csd(LARGE "DM_ENGINE=threads ", "i16.nii.gz", "i16z");
    assert_same_csd("i16", "i16z");
    fit_csd(TINY, "i16.nii.gz", "i16zt");
    assert_same_csd("i16", "i16zt");
    assert_spilled("i16zt.json");
    fit_csd(TINY "DM_ENGINE=serial ", "f32.nii", "f32t");
    fit_csd(TINY, "f32.nii.gz", "f32zt");
    assert_same_csd("f32t", "f32zt");
    assert_spilled("f32zt.json");
}

/* Its voxels are a second set, laid into the store in the same pass. */
static void the_response_is_the_same(void **state)
{
    (void)state;
    for (int k = 0; k < 2; k++)
        assert_runs("%s" DM "fit csd" GIVEN "--mask mask.nii --dwi i16.nii%s --out auto%d",
                    k ? SMALL : LARGE, k ? ".gz" : "", k);
    assert_same_csd("auto0", "auto1");
}

static void any_order_of_bytes_and_place(void **state)
{
    (void)state;
    write_swapped("i16.nii", "swapped.nii");
    write_shifted("i16.nii", "shifted.nii");
    assert_runs("gzip -1 -k swapped.nii");
    fit_csd(LARGE, "i16.nii", "bytes");
    static const char *const others[] = {"swapped.nii", "shifted.nii", "swapped.nii.gz"};
    for (int k = 0; k < 3; k++) {
        char out[32];
        snprintf(out, sizeof out, "out%d", k);
        fit_csd(TINY, others[k], out);
        assert_same_csd("bytes", out);
    }
}

/* Volumes out of their order in the file come to the model in the order asked for. */
static void volumes_in_any_order(void **state)
{
    (void)state;
    for (int k = 0; k < 2; k++)
        assert_runs(TINY DM "fit csd" GIVEN FIXED "--volumes 200-287,0-90,150,120 "
                            "--dwi i16.nii%s --out vol%d",
                    k ? ".gz" : "", k);
    assert_same_csd("vol0", "vol1");
    assert_runs(LARGE DM "fit csd" GIVEN FIXED "--volumes 200-287,0-90,150,120 "
                         "--dwi i16.nii --engine serial --chunks 3 --out vol2");
    assert_same_csd("vol0", "vol2");
}

static void free_water_too(void **state)
{
    (void)state;
    static const char *const names[] = {"params", "f", "fa", "md", "ad", "rd"};
    assert_runs(TINY DM "fit fwdti --method wls" GIVEN
                        "--mask mask.nii --dwi i16.nii.gz --out fw_a "
                        "--json fw_a.json");
    assert_spilled("fw_a.json");
    assert_runs(LARGE DM "fit fwdti --method wls" GIVEN "--mask mask.nii --dwi i16.nii --out fw_b");
    for (int k = 0; k < 6; k++) {
        char one[64], other[64];
        snprintf(one, sizeof one, "fw_a/fwdti_%s.nii.gz", names[k]);
        snprintf(other, sizeof other, "fw_b/fwdti_%s.nii.gz", names[k]);
        assert_same_file(one, other);
    }
}

/* Densities and another basis are made as voxels come; they are those of the coefficients' file. */
static void derived_maps_too(void **state)
{
    (void)state;
    for (int k = 0; k < 2; k++)
        assert_runs("%s" DM "fit csd" GIVEN FIXED "--odf --peaks --basis tournier07 "
                    "--dwi f32.nii%s --out der%d",
                    k ? LARGE : TINY, k ? "" : ".gz", k);
    assert_same_csd("der0", "der1");
    assert_same_file("der0/csd_odf.nii.gz", "der1/csd_odf.nii.gz");
    assert_same_file("der0/csd_gfa_odf.nii.gz", "der1/csd_gfa_odf.nii.gz");
    assert_same_file("der0/csd_peaks.nii.gz", "der1/csd_peaks.nii.gz");
}

/* ---- the store keeps its limit ---- */

typedef struct most {
    uint64_t committed, used;
} most;

static void look(void *context, size_t n_done, size_t n)
{
    (void)n_done, (void)n;
    most *m = context;
    dm_stats now;
    assert_ok(dm_stats_get(&now));
    m->committed = now.store_committed > m->committed ? now.store_committed : m->committed;
    m->used = now.store_used > m->used ? now.store_used : m->used;
}

static void the_store_keeps_its_limit(void **state)
{
    (void)state;
    dm_image_file *file;
    dm_gradients *gradients;
    dm_mask *mask;
    dm_signals *signals;
    most m = {0};
    assert_ok(dm_gradients_read(SCHEME ".bval", SCHEME ".bvec", &gradients));
    assert_ok(dm_image_file_open("f32.nii.gz", &file));
    assert_ok(dm_mask_all(dm_image_file_header(file), &mask));
    assert_ok(dm_init(&(dm_options){.workers = 2, .store_bytes = SMALL_STORE}));
    const dm_mask *const masks[] = {mask};
    const dm_fit_options options = {.progress = look, .context = &m};
    assert_ok(dm_signals_read(file, 1, masks, &options, &signals));
    dm_csd_fit_input input = {
        .gradients = gradients, .signals = signals, .response = {{1.7e-3, 3e-4, 3e-4}, 1000}};
    assert_ok(dm_fit_csd(&input, &options, &(dm_csd_maps){0}, NULL));
    dm_stats after;
    assert_ok(dm_stats_get(&after));
    assert_true(after.spilled_total > SMALL_STORE);
    assert_true(m.committed <= SMALL_STORE && m.used <= SMALL_STORE);
    assert_int_equal(dm_fit_csd(&input, NULL, &(dm_csd_maps){0}, NULL), DM_ERR_INVALID);
    dm_signals_destroy(signals);
    assert_ok(dm_stats_get(&after));
    assert_int_equal(after.refs, 0);
    dm_shutdown();
    dm_image_file_close(file);
    dm_mask_destroy(mask);
    dm_gradients_destroy(gradients);
}

/* ---- maps ---- */

enum { MAP_VOXELS = 64 * 64 * 64, MAP_VOLUMES = 30 };

static bool is_put(size_t voxel)
{
    return voxel % 7 < 3 && voxel > 100000 && voxel < 250000; /* the first tiles are empty */
}

static double map_value(size_t voxel, size_t volume)
{
    return (double)((voxel * 31 + volume * 17) % 1009) / 3;
}

static void put_map(dm_map_file *map)
{
    enum { AT_ONCE = 100 };
    static size_t voxels[AT_ONCE];
    static double values[AT_ONCE * MAP_VOLUMES];
    size_t n = 0;
    for (size_t v = 0; v < MAP_VOXELS; v++) {
        if (!is_put(v))
            continue;
        for (size_t t = 0; t < MAP_VOLUMES; t++)
            values[n * MAP_VOLUMES + t] = map_value(v, t);
        voxels[n++] = v;
        if (n < AT_ONCE)
            continue;
        assert_ok(dm_map_file_put(map, n, voxels, values));
        n = 0;
    }
    assert_ok(dm_map_file_put(map, n, voxels, values));
}

static void write_map(size_t store_bytes, const char *path)
{
    const dm_grid grid = {.shape = {64, 64, 64}, .pixdim = {1, 2, 2, 2}};
    dm_map_file *map;
    assert_ok(dm_init(&(dm_options){.workers = 2, .store_bytes = store_bytes}));
    assert_ok(dm_map_file_open(&grid, MAP_VOLUMES, DM_VOLUME_F32, path, false, &map));
    put_map(map);
    assert_ok(dm_map_file_finish(map));
    assert_int_not_equal(access(path, F_OK), 0);
    assert_ok(dm_map_file_commit(map));
    dm_map_file_destroy(map);
    dm_shutdown();
}

static void maps_are_files_that_others_read(void **state)
{
    (void)state;
    write_map((size_t)512 << 20, "tasks.nii.gz");
    write_map(SMALL_STORE, "here.nii.gz");
    write_map(SMALL_STORE, "plain.nii");
    assert_same_file("tasks.nii.gz", "here.nii.gz");
    assert_runs("gzip -t tasks.nii.gz");
    assert_runs("gzip -dc tasks.nii.gz | cmp - plain.nii");
    dm_volume *map = read_image("tasks.nii.gz");
    for (size_t v = 0; v < MAP_VOXELS; v++)
        for (size_t t = 0; t < MAP_VOLUMES; t++)
            if (((float *)map->data)[t * MAP_VOXELS + v] !=
                (is_put(v) ? (float)map_value(v, t) : 0))
                fail_msg("voxel %zu, volume %zu", v, t);
    dm_volume_destroy(map);
}

static void maps_refuse_voxels_out_of_order(void **state)
{
    (void)state;
    const dm_grid grid = {.shape = {4, 4, 4}};
    dm_map_file *map;
    const size_t before = 0, none = 64;
    const double value = 1;
    assert_ok(dm_init(&(dm_options){.engine = DM_ENGINE_SERIAL}));
    assert_int_equal(dm_map_file_open(&grid, 1, DM_VOLUME_F32, "map.img", false, &map),
                     DM_ERR_INVALID);
    assert_int_equal(dm_map_file_open(&grid, 1, DM_VOLUME_F32, "absent/map.nii", false, &map),
                     DM_ERR_IO);
    assert_ok(dm_map_file_open(&grid, 1, DM_VOLUME_F32, "map.nii.gz", false, &map));
    assert_ok(dm_map_file_put(map, 1, &before, &value));
    assert_int_equal(dm_map_file_put(map, 1, &none, &value), DM_ERR_INVALID);
    dm_map_file_destroy(map);
    assert_int_not_equal(access("map.nii.gz", F_OK), 0);
    dm_shutdown();
}

/* ---- damaged input ---- */

static void what_is_cut_off_or_damaged_is_refused(void **state)
{
    (void)state;
    unsigned char *bytes;
    const size_t n = read_bytes("i16.nii.gz", &bytes);
    write_bytes("cut.nii.gz", bytes, n / 2);
    bytes[n - 7] ^= 1; /* the checksum */
    write_bytes("damaged.nii.gz", bytes, n);
    free(bytes);
    assert_runs("head -c 1000000 i16.nii > cut.nii");
    static const char *const bad[] = {"cut.nii.gz", "damaged.nii.gz", "cut.nii"};
    for (int k = 0; k < 3; k++) {
        assert_int_equal(shell(SMALL DM "fit csd" GIVEN "--dwi %s --out out", bad[k]), 1);
        assert_said(bad[k]);
        assert_said("get the file again");
        assert_int_not_equal(access("out", F_OK), 0);
    }
}

typedef struct cutting {
    bool done;
    size_t n_done; /* voxels, when it was cut */
} cutting;

static void cut_in_the_middle(void *context, size_t n_done, size_t n)
{
    (void)n;
    cutting *c = context;
    if (!c->done)
        assert_int_equal(truncate("live.nii", 3000000), 0);
    c->n_done = c->done ? c->n_done : n_done;
    c->done = true;
}

/* Tasks that were under way hold their inputs to their end. */
static void assert_nothing_is_held(void)
{
    const int64_t until = watch_now_ms() + WATCH_PATIENCE_MS;
    dm_stats now;
    assert_ok(dm_stats_get(&now));
    while (now.refs > 0 && watch_now_ms() < until) {
        watch_pause();
        assert_ok(dm_stats_get(&now));
    }
    assert_int_equal(now.refs, 0);
}

/* Somebody writes the file anew while it is being read. */
static void what_is_cut_off_meanwhile_is_a_message(void **state)
{
    (void)state;
    dm_image_file *file;
    dm_gradients *gradients;
    dm_mask *mask;
    dm_signals *signals;
    dm_volume *volume;
    cutting c = {0};
    assert_runs("cp f32.nii live.nii");
    assert_ok(dm_gradients_read(SCHEME ".bval", SCHEME ".bvec", &gradients));
    assert_ok(dm_image_file_open("live.nii", &file));
    assert_ok(dm_mask_all(dm_image_file_header(file), &mask));
    assert_ok(dm_init(&(dm_options){.workers = 2, .store_bytes = SMALL_STORE}));
    const dm_mask *const masks[] = {mask};
    assert_ok(dm_signals_read(file, 1, masks, NULL, &signals));
    const dm_csd_fit_input input = {
        .gradients = gradients, .signals = signals, .response = {{1.7e-3, 3e-4, 3e-4}, 1000}};
    const dm_fit_options options = {.progress = cut_in_the_middle, .context = &c};
    assert_int_equal(dm_fit_csd(&input, &options, &(dm_csd_maps){0}, NULL), DM_ERR_FORMAT);
    assert_non_null(strstr(dm_last_error(), "live.nii: cut off while it was in use"));
    assert_true(c.done && c.n_done < N_VOXELS);
    assert_int_equal(dm_image_file_read(file, &volume), DM_ERR_FORMAT);
    assert_non_null(strstr(dm_last_error(), "it ends at byte 3000000"));
    assert_non_null(strstr(dm_last_error(), "get the file again"));
    dm_signals_destroy(signals);
    assert_nothing_is_held();
    dm_shutdown();
    dm_image_file_close(file);
    dm_mask_destroy(mask);
    dm_gradients_destroy(gradients);
}

/* ---- interrupted ---- */

static pid_t start_fit(void)
{
    const pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid > 0)
        return pid;
    setpgid(0, 0);
    setenv("DM_STORE_BYTES", "2M", 1);
    setenv("DM_SPILL_DIR", "spill", 1);
    setenv("DM_SPILL_VISIBLE", "1", 1);
    const int fd = open("said", O_WRONLY | O_CREAT | O_TRUNC, 0600);
    if (fd < 0 || dup2(fd, 1) < 0 || dup2(fd, 2) < 0)
        _exit(126);
    execl(DM_BIN_DIR "/dm", "dm", "fit", "fwdti", "--dwi", "i16.nii.gz", "--bval", SCHEME ".bval",
          "--bvec", SCHEME ".bvec", "--mask", "mask.nii", "--out", "out", "--workers", "2",
          "--voxels-per-chunk", "8", (char *)NULL);
    _exit(127);
}

static void assert_group_is_gone(pid_t group)
{
    const int64_t until = watch_now_ms() + WATCH_PATIENCE_MS;
    while (kill(-group, 0) == 0 && watch_now_ms() < until)
        watch_pause();
    assert_int_equal(kill(-group, 0), -1);
    assert_int_equal(errno, ESRCH);
}

/* Moments of the whole way: reading, fitting, writing. */
static void an_interrupted_fit_leaves_nothing(void **state)
{
    (void)state;
    assert_int_equal(mkdir("spill", 0700), 0);
    int interrupted = 0;
    for (int ms = 50; ms < 60000; ms = ms * 3 / 2) {
        const int signal = interrupted % 2 ? SIGTERM : SIGINT;
        int status;
        const pid_t pid = start_fit();
        nanosleep(&(struct timespec){ms / 1000, ms % 1000 * 1000000L}, NULL);
        kill(pid, signal);
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_group_is_gone(pid);
        assert_runs("test -z \"$(ls -A spill)\"");
        if (WIFEXITED(status)) {
            assert_int_equal(WEXITSTATUS(status), 0);
            assert_int_equal(access("out/fwdti_params.nii.gz", F_OK), 0);
            break;
        }
        assert_int_equal(WTERMSIG(status), signal);
        assert_int_not_equal(access("out", F_OK), 0);
        interrupted++;
    }
    assert_true(interrupted > 0);
}

static int begin_all(void **state)
{
    if (begin(state) != 0)
        return -1;
    make_inputs();
    return 0;
}

int main(void)
{
    DM_TRY_MAIN(dm_init(&(dm_options){.engine = DM_ENGINE_SERIAL}));
    dm_shutdown();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(in_place_and_inflated_and_spilled_are_the_same),
        cmocka_unit_test(the_response_is_the_same),
        cmocka_unit_test(any_order_of_bytes_and_place),
        cmocka_unit_test(volumes_in_any_order),
        cmocka_unit_test(free_water_too),
        cmocka_unit_test(derived_maps_too),
        cmocka_unit_test(the_store_keeps_its_limit),
        cmocka_unit_test(maps_are_files_that_others_read),
        cmocka_unit_test(maps_refuse_voxels_out_of_order),
        cmocka_unit_test(what_is_cut_off_or_damaged_is_refused),
        cmocka_unit_test(what_is_cut_off_meanwhile_is_a_message),
        cmocka_unit_test(an_interrupted_fit_leaves_nothing),
    };
    return cmocka_run_group_tests(tests, begin_all, end);
}
