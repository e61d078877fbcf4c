/*
 * A part of a spill file: header and coded bytes as a damaged disk may give them. What does not fit is refused, and
 * no byte is written beyond what the reader has room for.
 */
#include <stdlib.h>
#include <string.h>

#include "objectstore/codec.h"
#include "objectstore/part.h"
#include "tests/fuzz/fuzz.h"

enum { MOST = 1 << 20 };

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count)
{
    static dmi_codec *codec;
    dmi_part_header header;
    uint64_t sum;
    if (codec == NULL)
        codec = dmi_codec_create();
    if (codec == NULL || count < sizeof header)
        return 0;
    memcpy(&header, bytes, sizeof header);
    dmi_part_check(&header, header.id, header.count, count - sizeof header);
    dmi_part_seal(&header); /* a sum that is right is not guessed */
    dmi_part_check(&header, header.id, header.count, count - sizeof header);
    dmi_coding coding = {.plain = header.plain, .element = (uint8_t)(1u << header.element % 4)};
    size_t room = header.count % MOST;
    if (coding.plain > room)
        return 0; /* dmi_part_check has refused it */
    uint8_t *to = malloc(room ? room : 1);
    if (to)
        dmi_codec_decode(codec, &coding, bytes + sizeof header, count - sizeof header, to, room, &sum);
    free(to);
    return 0;
}
