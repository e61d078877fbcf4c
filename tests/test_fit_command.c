/*
 * `dm fit csd` as a user meets it: complete outputs that lie where the input lay, nothing
 * overwritten unasked, and for each bad input a message that names the file, what was found and
 * what was expected.
 *
 * Inputs are made here from tests/data/s64, in a folder of each case's own.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <math.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "dm/dm.h"
#include "dm/models.h"

#define S64 DM_TEST_DATA "/s64"
enum { N_VOXELS = 1000, N_VOLUMES = 65, N_COEFFICIENTS = 45, MOST_ARGUMENTS = 40 };

static char folder[64]; /* of the case that runs */

/* ---- paths and files of a case ---- */

/* Good until the eighth call from now. */
static const char *at(const char *name)
{
    static char paths[8][256];
    static int next;
    char *path = paths[next++ % 8];
    snprintf(path, sizeof paths[0], "%s/%s", folder, name);
    return path;
}

static int begin(void **state)
{
    (void)state;
    snprintf(folder, sizeof folder, "/tmp/dm-test-XXXXXX");
    return mkdtemp(folder) ? 0 : -1;
}

static int remove_one(const char *path, const struct stat *info, int type, struct FTW *where)
{
    (void)info, (void)type, (void)where;
    return remove(path);
}

static int end(void **state)
{
    (void)state;
    return nftw(folder, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static void write_file(const char *name, const char *text)
{
    FILE *file = fopen(at(name), "w");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

static size_t read_file(const char *path, char *text, size_t most)
{
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    size_t n = fread(text, 1, most - 1, file);
    text[n] = 0;
    fclose(file);
    return n;
}

static bool exists(const char *path)
{
    return access(path, F_OK) == 0;
}

static void assert_ok(dm_status status)
{
    if (status != DM_OK)
        fail_msg("%s: %s", dm_status_name(status), dm_last_error());
}

/* ---- images ---- */

static dm_volume *read_image(const char *path)
{
    dm_volume *volume;
    assert_ok(dm_volume_read(path, &volume));
    return volume;
}

/* s64 in another type or with fewer volumes, on the same grid. Yours. */
static dm_volume *copy_s64(dm_volume_type type, size_t n_volumes)
{
    dm_volume *s64 = read_image(S64 "/dwi.nii.gz"), *copy;
    assert_ok(dm_volume_create(&s64->grid, n_volumes, type, &copy));
    for (size_t voxel = 0; voxel < N_VOXELS; voxel++) {
        double signals[N_VOLUMES];
        dm_volume_gather(s64, 1, &voxel, signals);
        dm_volume_scatter(copy, 1, &voxel, signals);
    }
    dm_volume_destroy(s64);
    return copy;
}

static void write_image(dm_volume *volume, const char *name)
{
    assert_ok(dm_volume_write(volume, at(name), false));
    dm_volume_destroy(volume);
}

/* A mask with these first voxels set, on a grid of 10 x 10 x `depth`. */
static void write_mask(const char *name, size_t n_set, size_t depth)
{
    dm_grid grid = {.shape = {10, 10, depth}, .pixdim = {1, 2, 2, 2}};
    dm_volume *mask;
    assert_ok(dm_volume_create(&grid, 1, DM_VOLUME_U8, &mask));
    memset(mask->data, 1, n_set);
    write_image(mask, name);
}

/* The first `n` b-values and vectors of s64, vector `odd` (if it is one) twice as long. */
static void write_gradients(const char *bval, const char *bvec, size_t n, size_t odd)
{
    dm_gradients *g;
    assert_ok(dm_gradients_read(S64 "/dwi.bval", S64 "/dwi.bvec", &g));
    FILE *b = fopen(at(bval), "w"), *v = fopen(at(bvec), "w");
    assert_true(b && v);
    for (size_t i = 0; i < n; i++)
        fprintf(b, "%.10g\n", g->b[i]);
    for (int axis = 0; axis < 3; axis++) {
        for (size_t i = 0; i < n; i++)
            fprintf(v, "%.10g ", g->g[i][axis] * (i == odd ? 2 : 1));
        fprintf(v, "\n");
    }
    fclose(b);
    fclose(v);
    dm_gradients_destroy(g);
}

/* ---- running dm ---- */

typedef struct outcome {
    int status;
    char out[8192], err[8192];
} outcome;

/* A NULL ends the arguments. */
static pid_t start(const char *const *arguments, const char *out, const char *err)
{
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid > 0)
        return pid;
    const char *argv[MOST_ARGUMENTS + 2] = {DM_BIN_DIR "/dm"};
    for (int i = 0; arguments[i]; i++)
        argv[i + 1] = arguments[i];
    int out_fd = open(out, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    int err_fd = open(err, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    if (out_fd < 0 || err_fd < 0 || dup2(out_fd, 1) < 0 || dup2(err_fd, 2) < 0)
        _exit(126);
    execv(argv[0], (char *const *)(uintptr_t)argv);
    _exit(127);
}

static outcome run(const char *const *arguments)
{
    outcome o;
    int status;
    pid_t pid = start(arguments, at("stdout"), at("stderr"));
    assert_int_equal(waitpid(pid, &status, 0), pid);
    o.status = WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
    read_file(at("stdout"), o.out, sizeof o.out);
    read_file(at("stderr"), o.err, sizeof o.err);
    return o;
}

/* An option is given in the place of an earlier one of its name: the last one counts. */
#define FIT(...)                                                                                   \
    run((const char *const[]){"fit", "csd", "--dwi", S64 "/dwi.nii.gz", "--bval", S64 "/dwi.bval", \
                              "--bvec", S64 "/dwi.bvec", "--out", at("out"), ##__VA_ARGS__, NULL})

static void assert_says(const char *text, const char *words)
{
    if (!strstr(text, words))
        fail_msg("'%s' is not in: %s", words, text);
}

static void assert_fitted(const outcome *o)
{
    if (o->status != 0)
        fail_msg("status %d: %s", o->status, o->err);
}

/* Refused, in one message with these words, and nothing written. */
static void assert_refused(const outcome *o, const char *file, const char *found,
                           const char *expected)
{
    assert_int_equal(o->status, 1);
    assert_says(o->err, file);
    assert_says(o->err, found);
    assert_says(o->err, expected);
    assert_string_equal(o->out, "");
    assert_false(exists(at("out/csd_sh.nii.gz")));
}

/* ---- outputs ---- */

static const char *const output_names[] = {"csd_sh.nii.gz", "csd_gfa.nii.gz",
                                           "csd_iterations.nii.gz", "response.txt"};

static dm_volume *read_output(const char *name)
{
    char path[128];
    snprintf(path, sizeof path, "out/%s", name);
    return read_image(at(path));
}

static void test_outputs_are_complete(void **state)
{
    (void)state;
    outcome o = FIT("--float64", "--mask", S64 "/mask.nii.gz", "--json", at("figures"));
    assert_fitted(&o);
    dm_volume *sh = read_output("csd_sh.nii.gz"), *reference = read_image(S64 "/csd_sh.nii.gz");
    dm_volume *gfa = read_output("csd_gfa.nii.gz"), *count = read_output("csd_iterations.nii.gz");
    dm_volume *reference_count = read_image(S64 "/csd_nit.nii.gz");
    assert_true(sh->type == DM_VOLUME_F64 && gfa->type == DM_VOLUME_F64);
    assert_int_equal(sh->n_volumes, N_COEFFICIENTS);
    assert_true(gfa->n_volumes == 1 && count->n_volumes == 1);
    size_t equal = 0;
    for (size_t voxel = 0; voxel < N_VOXELS; voxel++) {
        double ours[N_COEFFICIENTS], theirs[N_COEFFICIENTS], n, reference_n;
        dm_volume_gather(sh, 1, &voxel, ours);
        dm_volume_gather(reference, 1, &voxel, theirs);
        dm_volume_gather(count, 1, &voxel, &n);
        dm_volume_gather(reference_count, 1, &voxel, &reference_n);
        equal += n == reference_n && fabs(ours[0] - theirs[0]) <= 1e-8 * fabs(theirs[0]);
    }
    assert_true(equal >= 0.999 * N_VOXELS);
    assert_says(o.out, "1000 voxels");
    assert_says(o.out, at("out/csd_sh.nii.gz"));
    dm_volume *all[] = {sh, reference, gfa, count, reference_count};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        dm_volume_destroy(all[i]);
}

static void test_response_is_written_in_full(void **state)
{
    (void)state;
    outcome o = FIT("--engine", "serial");
    assert_fitted(&o);
    dm_response ours, reference;
    assert_ok(dm_response_read(at("out/response.txt"), &ours));
    assert_ok(dm_response_read(S64 "/response.txt", &reference));
    for (int i = 0; i < 3; i++)
        assert_true(fabs(ours.evals[i] / reference.evals[i] - 1) <= 1e-9);
    assert_true(fabs(ours.s0 / reference.s0 - 1) <= 1e-9);
    o = FIT("--engine", "serial", "--response", at("out/response.txt"), "--force");
    assert_fitted(&o);
    dm_response again;
    assert_ok(dm_response_read(at("out/response.txt"), &again));
    assert_memory_equal(&again, &ours, sizeof ours);
}

static void test_single_precision_unless_asked(void **state)
{
    (void)state;
    outcome o = FIT("--chunks", "5");
    assert_fitted(&o);
    dm_volume *sh = read_output("csd_sh.nii.gz"), *gfa = read_output("csd_gfa.nii.gz");
    assert_true(sh->type == DM_VOLUME_F32 && gfa->type == DM_VOLUME_F32);
    assert_says(o.out, "5 tasks");
    dm_volume_destroy(sh);
    dm_volume_destroy(gfa);
}

static void test_figures_are_json(void **state)
{
    (void)state;
    outcome o = FIT("--json", "-", "--workers", "2", "--voxels-per-chunk", "100");
    assert_fitted(&o);
    assert_true(o.out[0] == '{' && strstr(o.out, "\n}\n"));
    assert_says(o.out, "\"voxels\":\t1000");
    assert_says(o.out, "\"tasks\":\t10");
    assert_says(o.out, "\"workers\":\t2");
}

static void test_existing_outputs_are_refused_without_force(void **state)
{
    (void)state;
    assert_int_equal(mkdir(at("out"), 0755), 0);
    write_file("out/response.txt", "mine\n");
    outcome o = FIT("--engine", "serial");
    assert_refused(&o, at("out/response.txt"), "found", "--force");
    char text[64];
    read_file(at("out/response.txt"), text, sizeof text);
    assert_string_equal(text, "mine\n");
    o = FIT("--engine", "serial", "--force");
    assert_fitted(&o);
    for (int i = 0; i < 4; i++) {
        char path[128];
        snprintf(path, sizeof path, "out/%s", output_names[i]);
        assert_true(exists(at(path)));
    }
}

static void test_existing_figures_are_refused_without_force(void **state)
{
    (void)state;
    write_file("figures", "mine\n");
    outcome o = FIT("--engine", "serial", "--json", at("figures"));
    assert_refused(&o, at("figures"), "found", "--force");
    char text[64];
    read_file(at("figures"), text, sizeof text);
    assert_string_equal(text, "mine\n");
    o = FIT("--engine", "serial", "--json", at("figures"), "--force");
    assert_fitted(&o);
    read_file(at("figures"), text, sizeof text);
    assert_int_equal(text[0], '{');
}

/* Told before the fit: the maps of a fit whose figures have no place to go are not there. */
static void test_figures_with_no_place_to_go(void **state)
{
    (void)state;
    outcome o = FIT("--engine", "serial", "--json", at("absent/figures"));
    assert_refused(&o, at("absent/figures"), "No such file", "make it");
    assert_false(exists(at("out")));
    o = FIT("--engine", "serial", "--json", folder);
    assert_refused(&o, folder, "Is a directory", "another --json");
    o = FIT("--engine", "serial", "--json", at("out/figures"));
    assert_fitted(&o);
    assert_true(exists(at("out/figures")));
}

/* A grid that no default would give: oblique, in both ways of saying so, with units. */
static void test_outputs_lie_where_the_input_lay(void **state)
{
    (void)state;
    dm_volume *oblique = copy_s64(DM_VOLUME_F32, N_VOLUMES);
    dm_grid grid = {
        .shape = {10, 10, 10},
        .pixdim = {-1, 1.5f, 1.75f, 2.25f, 3.2f, 0, 0, 0},
        .xyzt_units = 10,
        .qform_code = 1,
        .sform_code = 3,
        .quaternion = {0.1f, -0.25f, 0.3f},
        .offset = {-11.5f, 22.25f, 3.125f},
        .sform = {{1.4f, 0.2f, -0.1f, 5}, {-0.3f, 1.7f, 0.4f, -6}, {0.1f, 0.5f, 2.2f, 7}},
    };
    oblique->grid = grid;
    write_image(oblique, "oblique.nii");
    outcome o = FIT("--engine", "serial", "--dwi", at("oblique.nii"));
    assert_fitted(&o);
    for (int i = 0; i < 3; i++) {
        dm_volume *map = read_output(output_names[i]);
        assert_memory_equal(map->grid.shape, grid.shape, sizeof grid.shape);
        assert_memory_equal(map->grid.pixdim, grid.pixdim, 4 * sizeof(float));
        assert_memory_equal(map->grid.quaternion, grid.quaternion, sizeof grid.quaternion);
        assert_memory_equal(map->grid.offset, grid.offset, sizeof grid.offset);
        assert_memory_equal(map->grid.sform, grid.sform, sizeof grid.sform);
        assert_int_equal(map->grid.xyzt_units, 10);
        assert_int_equal(map->grid.qform_code, 1);
        assert_int_equal(map->grid.sform_code, 3);
        dm_volume_destroy(map);
    }
}

static void test_zero_outside_the_mask(void **state)
{
    (void)state;
    write_mask("mask.nii.gz", 300, 10);
    outcome o = FIT("--engine", "serial", "--mask", at("mask.nii.gz"));
    assert_fitted(&o);
    assert_says(o.out, "300 voxels");
    dm_volume *gfa = read_output("csd_gfa.nii.gz");
    for (size_t voxel = 0; voxel < N_VOXELS; voxel++)
        assert_true((((float *)gfa->data)[voxel] > 0) == (voxel < 300));
    dm_volume_destroy(gfa);
}

static void test_nan_voxels_are_counted_and_stop_nothing(void **state)
{
    (void)state;
    dm_volume *dwi = copy_s64(DM_VOLUME_F32, N_VOLUMES);
    float *signals = dwi->data;
    signals[3 * N_VOXELS + 700] = NAN;
    signals[9 * N_VOXELS + 701] = INFINITY;
    write_image(dwi, "dwi.nii");
    outcome o = FIT("--dwi", at("dwi.nii"), "--response", S64 "/response.txt", "--workers", "2");
    assert_fitted(&o);
    assert_says(o.out, "2 voxels had NaN");
    dm_volume *sh = read_output("csd_sh.nii.gz"), *gfa = read_output("csd_gfa.nii.gz");
    for (size_t voxel = 0; voxel < N_VOXELS; voxel++) {
        bool bad = voxel == 700 || voxel == 701;
        assert_int_equal(isnan(((float *)sh->data)[44 * N_VOXELS + voxel]) != 0, bad);
        assert_int_equal(isnan(((float *)gfa->data)[voxel]) != 0, bad);
    }
    dm_volume_destroy(sh);
    dm_volume_destroy(gfa);
}

/* ---- a choice of volumes ---- */

static void assert_same_file(const char *a, const char *b)
{
    static char first[1 << 20], second[1 << 20];
    size_t n = read_file(a, first, sizeof first);
    assert_int_equal(read_file(b, second, sizeof second), n);
    assert_memory_equal(first, second, n);
}

static void test_volumes_are_as_if_the_others_were_not_there(void **state)
{
    (void)state;
    write_image(copy_s64(DM_VOLUME_I16, 50), "cut.nii.gz");
    write_gradients("cut.bval", "cut.bvec", 50, SIZE_MAX);
    write_file("list.txt", "0 1 2\n3-20, 21\n22-49\n");
    outcome o = FIT("--engine", "serial", "--dwi", at("cut.nii.gz"), "--bval", at("cut.bval"),
                    "--bvec", at("cut.bvec"), "--out", at("cut"));
    assert_fitted(&o);
    o = FIT("--engine", "serial", "--volumes", "0-49", "--out", at("list"));
    assert_fitted(&o);
    o = FIT("--engine", "serial", "--volumes", at("list.txt"), "--out", at("file"));
    assert_fitted(&o);
    for (int i = 0; i < 4; i++) {
        char cut[64], list[64], file[64];
        snprintf(cut, sizeof cut, "cut/%s", output_names[i]);
        snprintf(list, sizeof list, "list/%s", output_names[i]);
        snprintf(file, sizeof file, "file/%s", output_names[i]);
        assert_same_file(at(cut), at(list));
        assert_same_file(at(cut), at(file));
    }
}

static void test_fewer_directions_than_coefficients_is_a_warning(void **state)
{
    (void)state;
    outcome o = FIT("--engine", "serial", "--volumes", "0-40");
    assert_fitted(&o);
    assert_says(o.err, "warning");
    assert_says(o.err, "40");
    assert_says(o.err, "45");
}

/* ---- bad input ---- */

static void test_files_that_are_missing(void **state)
{
    (void)state;
    outcome o = FIT("--dwi", at("no.nii.gz"));
    assert_refused(&o, at("no.nii.gz"), "No such file", "");
    o = FIT("--bval", at("no.bval"));
    assert_refused(&o, at("no.bval"), "No such file", "");
    o = FIT("--bvec", at("no.bvec"));
    assert_refused(&o, at("no.bvec"), "No such file", "");
    o = FIT("--mask", at("no.nii"));
    assert_refused(&o, at("no.nii"), "No such file", "");
    o = FIT("--response", at("no.txt"));
    assert_refused(&o, at("no.txt"), "No such file", "");
    o = FIT("--volumes", at("no.txt"));
    assert_refused(&o, at("no.txt"), "No such file", "list of volumes");
}

static void test_images_that_are_none(void **state)
{
    (void)state;
    outcome o = FIT("--engine", "serial", "--dwi", S64 "/dwi.bval");
    assert_refused(&o, S64 "/dwi.bval", "", "NIfTI");
    o = FIT("--engine", "serial", "--dwi", S64 "/mask.nii.gz");
    assert_refused(&o, S64 "/mask.nii.gz", "10 x 10 x 10", "four dimensions");
    static char bytes[1 << 18];
    size_t n = read_file(S64 "/dwi.nii.gz", bytes, sizeof bytes);
    FILE *file = fopen(at("cut.nii.gz"), "w");
    assert_non_null(file);
    fwrite(bytes, 1, n / 2, file);
    fclose(file);
    o = FIT("--engine", "serial", "--dwi", at("cut.nii.gz"));
    assert_refused(&o, at("cut.nii.gz"), "", "");
}

static void test_gradients_that_do_not_fit(void **state)
{
    (void)state;
    write_gradients("64.bval", "64.bvec", 64, SIZE_MAX);
    outcome o = FIT("--engine", "serial", "--bval", at("64.bval"));
    assert_refused(&o, at("64.bval"), "64 b-values", S64 "/dwi.bvec");
    o = FIT("--engine", "serial", "--bval", at("64.bval"), "--bvec", at("64.bvec"));
    assert_refused(&o, at("64.bval"), "64 b-values", "65 volumes");
    assert_says(o.err, S64 "/dwi.nii.gz");
    write_gradients("odd.bval", "odd.bvec", 65, 7);
    o = FIT("--engine", "serial", "--bvec", at("odd.bvec"));
    assert_refused(&o, at("odd.bvec"), "volume 7", "within 0.01 of 1");
    write_file("words.bval", "a few words\n");
    o = FIT("--engine", "serial", "--bval", at("words.bval"));
    assert_refused(&o, at("words.bval"), "a", "");
    o = FIT("--engine", "serial", "--volumes", "0-4");
    assert_refused(&o, S64 "/dwi.bval", "4 weighted volumes", "at least 6");
}

static void test_masks_that_do_not_fit(void **state)
{
    (void)state;
    write_mask("shallow.nii.gz", 100, 9);
    outcome o = FIT("--engine", "serial", "--mask", at("shallow.nii.gz"));
    assert_refused(&o, at("shallow.nii.gz"), "10 x 10 x 9", "10 x 10 x 10");
    write_mask("empty.nii.gz", 0, 10);
    o = FIT("--engine", "serial", "--mask", at("empty.nii.gz"));
    assert_refused(&o, at("empty.nii.gz"), "no voxel", "at least one");
    o = FIT("--engine", "serial", "--mask", S64 "/dwi.nii.gz");
    assert_refused(&o, S64 "/dwi.nii.gz", "65", "");
}

static void test_lists_of_volumes_that_make_no_sense(void **state)
{
    (void)state;
    outcome o = FIT("--engine", "serial", "--volumes", "0-65");
    assert_refused(&o, "--volumes", "0-65", "0 to 64");
    o = FIT("--engine", "serial", "--volumes", "5-1");
    assert_refused(&o, "--volumes", "5-1", "0 to 64");
    o = FIT("--engine", "serial", "--volumes", "0-40,7");
    assert_refused(&o, "", "7", "");
    write_file("list.txt", "0 one 2\n");
    o = FIT("--engine", "serial", "--volumes", at("list.txt"));
    assert_refused(&o, at("list.txt"), "'one 2", "a volume");
}

/* Near infinity every volume is. */
static void test_shells_that_are_none(void **state)
{
    (void)state;
    outcome o = FIT("--engine", "serial", "--shells", "0,inf");
    assert_refused(&o, "--shells", "'inf'", "b-value");
    o = FIT("--engine", "serial", "--shells", "0,5000");
    assert_refused(&o, S64 "/dwi.bval", "5000", "0, 1000");
}

static void test_responses_and_folders_that_are_none(void **state)
{
    (void)state;
    write_file("response.txt", "1e-3 2e-4 2e-4\n");
    outcome o = FIT("--engine", "serial", "--response", at("response.txt"));
    assert_refused(&o, at("response.txt"), "", "");
    write_file("response.txt", "1.7 0.3 0.3 1000\n");
    o = FIT("--engine", "serial", "--response", at("response.txt"));
    assert_refused(&o, at("response.txt"), "1.7", "mm2/s");
    o = FIT("--engine", "serial", "--fa-threshold", "0.9999999");
    assert_refused(&o, S64 "/dwi.nii.gz", "", "FA");
    o = FIT("--engine", "serial", "--out", at("response.txt"));
    assert_refused(&o, at("response.txt"), "Not a directory", "folder");
}

/* ---- usage ---- */

static void test_usage(void **state)
{
    (void)state;
    outcome o = FIT("--lmax", "7");
    assert_int_equal(o.status, 2);
    assert_says(o.err, "'7'");
    o = FIT("--chunks", "2", "--voxels-per-chunk", "2");
    assert_int_equal(o.status, 2);
    o = FIT("--chunks", "999999999999");
    assert_int_equal(o.status, 2);
    assert_says(o.err, "1 to 2147483647");
    o = FIT("--voxels-per-chunk", "999999999999");
    assert_int_equal(o.status, 2);
    assert_says(o.err, "1 to 2147483647");
    o = FIT("--engine", "steam");
    assert_int_equal(o.status, 2);
    assert_says(o.err, "processes, threads or serial");
    o = FIT("--mask", "");
    assert_int_equal(o.status, 2);
    assert_says(o.err, "--mask is empty");
    o = FIT("--response=");
    assert_int_equal(o.status, 2);
    assert_says(o.err, "--response is empty");
    o = FIT("surplus");
    assert_int_equal(o.status, 2);
    o = run((const char *const[]){"fit", "csd", "--dwi", "x", NULL});
    assert_int_equal(o.status, 2);
    assert_says(o.err, "--bval is missing");
    o = run((const char *const[]){"fit", NULL});
    assert_int_equal(o.status, 2);
    o = run((const char *const[]){NULL});
    assert_int_equal(o.status, 2);
    o = run((const char *const[]){"fit", "csd", "--help", NULL});
    assert_int_equal(o.status, 0);
    assert_says(o.out, "Usage: dm fit csd");
    o = run((const char *const[]){"help", "demo", NULL});
    assert_int_equal(o.status, 0);
    assert_says(o.out, "Usage: dm demo");
    o = run((const char *const[]){"version", NULL});
    assert_int_equal(o.status, 0);
    assert_says(o.out, DM_VERSION_STRING);
}

/* ---- killed ---- */

static void wait_at_most(pid_t pid, int ms)
{
    int pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
    assert_true(pidfd >= 0);
    struct pollfd ended = {.fd = pidfd, .events = POLLIN};
    while (poll(&ended, 1, ms) < 0)
        assert_int_equal(errno, EINTR);
    close(pidfd);
}

/* Whatever is there under a final name is whole, and nothing else is there. */
static void assert_nothing_half_written(void)
{
    DIR *out = opendir(at("out"));
    if (!out)
        return; /* killed before it was made */
    struct dirent *entry;
    while ((entry = readdir(out))) {
        if (entry->d_name[0] == '.' && strlen(entry->d_name) <= 2)
            continue;
        int found = 0;
        while (found < 4 && strcmp(entry->d_name, output_names[found]) != 0)
            found++;
        /* What replaces a file has a name of its own for the moment between two system calls. */
        if (found == 4 && !strstr(entry->d_name, ".tmp"))
            fail_msg("%s was left behind", entry->d_name);
        if (found < 3)
            dm_volume_destroy(read_output(entry->d_name));
    }
    closedir(out);
}

/* The moments are spread over the whole run by its own length, so that writing is among them. */
static void test_a_killed_fit_leaves_nothing_half_written(void **state)
{
    (void)state;
    char out[256];
    snprintf(out, sizeof out, "%s", at("out"));
    const char *const arguments[] = {
        "fit",    "csd",           "--dwi", S64 "/dwi.nii.gz",    "--bval", S64 "/dwi.bval",
        "--bvec", S64 "/dwi.bvec", "--out", out,                  "--workers", "2",
        "--force", "--float64",    "--voxels-per-chunk", "1", NULL};
    for (int ms = 1; ms < 3000; ms += 1 + ms / 4) {
        int status;
        pid_t pid = start(arguments, at("stdout"), at("stderr"));
        wait_at_most(pid, ms);
        kill(pid, SIGKILL);
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_nothing_half_written();
        if (WIFEXITED(status)) {
            assert_int_equal(WEXITSTATUS(status), 0);
            return;
        }
    }
}

/* One signal is enough while it waits for an input that nobody writes. */
static void test_a_fit_that_waits_for_an_input_can_be_stopped(void **state)
{
    (void)state;
    char out[256], pipe[256];
    int status;
    snprintf(out, sizeof out, "%s", at("out"));
    snprintf(pipe, sizeof pipe, "%s", at("pipe"));
    assert_int_equal(mkfifo(pipe, 0600), 0);
    const char *const arguments[] = {"fit",    "csd",    "--dwi",  S64 "/dwi.nii.gz", "--bval",    pipe,
                                     "--bvec", S64 "/dwi.bvec", "--out", out,        "--workers", "1", NULL};
    pid_t pid = start(arguments, at("stdout"), at("stderr"));
    /* Opened here once it is being opened there: from then on it waits for what is written. */
    const int writer = open(pipe, O_WRONLY);
    assert_true(writer >= 0);
    assert_int_equal(kill(pid, SIGTERM), 0);
    wait_at_most(pid, 20000);
    const bool ended = waitpid(pid, &status, WNOHANG) == pid;
    if (!ended) {
        kill(pid, SIGKILL);
        assert_int_equal(waitpid(pid, &status, 0), pid);
    }
    close(writer);
    assert_true(ended && WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM);
    assert_false(exists(out));
}

/* As on a full disk; not the signal that says so to programs which do not look. */
static void test_a_file_that_may_not_grow_is_an_error(void **state)
{
    (void)state;
    struct rlimit former;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &former), 0);
    const struct rlimit little = {.rlim_cur = 64 << 10, .rlim_max = former.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &little), 0);
    outcome o = FIT("--engine", "serial", "--float64");
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &former), 0);
    assert_int_equal(o.status, 1);
    assert_says(o.err, strerror(EFBIG));
    assert_false(exists(at("out")));
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, begin, end)
    const struct CMUnitTest tests[] = {
        CASE(test_outputs_are_complete),
        CASE(test_response_is_written_in_full),
        CASE(test_single_precision_unless_asked),
        CASE(test_figures_are_json),
        CASE(test_existing_outputs_are_refused_without_force),
        CASE(test_existing_figures_are_refused_without_force),
        CASE(test_figures_with_no_place_to_go),
        CASE(test_outputs_lie_where_the_input_lay),
        CASE(test_zero_outside_the_mask),
        CASE(test_nan_voxels_are_counted_and_stop_nothing),
        CASE(test_volumes_are_as_if_the_others_were_not_there),
        CASE(test_fewer_directions_than_coefficients_is_a_warning),
        CASE(test_files_that_are_missing),
        CASE(test_images_that_are_none),
        CASE(test_gradients_that_do_not_fit),
        CASE(test_masks_that_do_not_fit),
        CASE(test_lists_of_volumes_that_make_no_sense),
        CASE(test_shells_that_are_none),
        CASE(test_responses_and_folders_that_are_none),
        CASE(test_usage),
        CASE(test_a_killed_fit_leaves_nothing_half_written),
        CASE(test_a_fit_that_waits_for_an_input_can_be_stopped),
        CASE(test_a_file_that_may_not_grow_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
