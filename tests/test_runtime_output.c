/*
 * A worker's output becomes whole lines with a prefix: however it arrives, however much it is, and
 * whatever bytes are in it.
 */
#include "runtime/output.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static dmi_output output;
static char seen[1 << 20]; /* the lines, each with '|' after it */
static size_t seen_bytes, seen_lines, longest;

static void take(void *context, const char *line)
{
    (void)context;
    size_t length = strlen(line);
    longest = length > longest ? length : longest;
    seen_lines++;
    if (seen_bytes + length + 2 < sizeof seen)
        seen_bytes += (size_t)sprintf(seen + seen_bytes, "%s|", line);
}

static int fresh(void **state)
{
    (void)state;
    memset(&output, 0, sizeof output);
    seen_bytes = seen_lines = longest = 0;
    seen[0] = '\0';
    return 0;
}

static void split(const char *text)
{
    dmi_output_split(&output, text, strlen(text), take, NULL);
}

static void lines_are_whole_however_they_arrive(void **state)
{
    static const char text[] = "one\ntwo\n\nthree";
    for (size_t piece = 1; piece < sizeof text; piece++) {
        fresh(state);
        for (size_t at = 0; at < sizeof text - 1; at += piece) {
            size_t n = sizeof text - 1 - at < piece ? sizeof text - 1 - at : piece;
            dmi_output_split(&output, text + at, n, take, NULL);
        }
        assert_string_equal(seen, "one|two||");
        dmi_output_flush(&output, take, NULL);
        assert_string_equal(seen, "one|two||three|");
        dmi_output_flush(&output, take, NULL);
        assert_int_equal(seen_lines, 4);
    }
}

static void long_lines_come_in_pieces(void **state)
{
    (void)state;
    char *text = malloc(3 * DMI_LINE_BYTES + 2);
    memset(text, 'x', 3 * DMI_LINE_BYTES + 1);
    text[3 * DMI_LINE_BYTES + 1] = '\n';
    dmi_output_split(&output, text, 3 * DMI_LINE_BYTES + 2, take, NULL);
    assert_int_equal(seen_lines, 4);
    assert_int_equal(longest, DMI_LINE_BYTES);
    free(text);
}

static void a_line_of_just_that_length_is_one(void **state)
{
    (void)state;
    static char text[DMI_LINE_BYTES + 1];
    memset(text, 'x', DMI_LINE_BYTES);
    split(text);
    split("\n");
    assert_int_equal(seen_lines, 1);
    split("\nend\n");
    assert_int_equal(seen_lines, 3); /* the empty line after it is one */
}

static void nul_bytes_hide_nothing(void **state)
{
    (void)state;
    dmi_output_split(&output, "a\0b\0\0c\n", 7, take, NULL);
    assert_string_equal(seen, "a?b??c|");
}

static void a_flood_is_read_piece_by_piece(void **state)
{
    (void)state;
    int ends[2];
    assert_int_equal(pipe2(ends, O_NONBLOCK), 0);
    static char block[65536];
    memset(block, 'y', sizeof block);
    for (size_t i = 99; i < sizeof block; i += 100)
        block[i] = '\n';
    assert_int_equal(write(ends[1], block, sizeof block), sizeof block);
    assert_int_equal(dmi_output_read(&output, ends[0], 20000, take, NULL), DMI_OUTPUT_MORE);
    assert_in_range(seen_lines, 199, 328);
    assert_int_equal(dmi_output_read(&output, ends[0], 1 << 20, take, NULL), DMI_OUTPUT_DRY);
    assert_int_equal(seen_lines, 655);
    close(ends[1]);
    assert_int_equal(dmi_output_read(&output, ends[0], 1 << 20, take, NULL), DMI_OUTPUT_ENDED);
    dmi_output_flush(&output, take, NULL);
    assert_int_equal(seen_lines, 656);
    close(ends[0]);
}

static void the_prefix_names_worker_and_function(void **state)
{
    (void)state;
    char to[DMI_PREFIXED_BYTES];
    dmi_output_prefix(to, 1, "square", "text");
    assert_string_equal(to, "[worker 1 square] text");
    dmi_output_prefix(to, 12, "", "text");
    assert_string_equal(to, "[worker 12] text");
    static char name[1000], line[DMI_LINE_BYTES + 1];
    memset(name, 'n', sizeof name - 1);
    memset(line, 'l', sizeof line - 1);
    dmi_output_prefix(to, 255, name, line);
    assert_int_equal(to[strlen(to) - 1], 'l'); /* cut in the name, not in the line */
    assert_int_equal(strlen(strchr(to, ']')), DMI_LINE_BYTES + 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(lines_are_whole_however_they_arrive, fresh),
        cmocka_unit_test_setup(long_lines_come_in_pieces, fresh),
        cmocka_unit_test_setup(a_line_of_just_that_length_is_one, fresh),
        cmocka_unit_test_setup(nul_bytes_hide_nothing, fresh),
        cmocka_unit_test_setup(a_flood_is_read_piece_by_piece, fresh),
        cmocka_unit_test_setup(the_prefix_names_worker_and_function, fresh),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
