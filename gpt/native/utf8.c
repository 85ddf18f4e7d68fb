// UTF-8 as numbers, without a string in between.
//
// Where letters of one and of two bytes mix, a processor cannot foretell which comes next, and to
// guess wrong costs more than all else. So 32 bytes at once are taken for firsts of characters of
// up to two, which asks nothing, and only what begins a character counts. Longer ones are rarer,
// or follow one another.

#include <stdint.h>

enum { SPAN = 32, NOTHING = 0xD800 };  // half a surrogate pair, which no text holds

// Such bytes follow the first of a character.
static inline int continues(uint8_t byte) { return (byte & 0xC0) == 0x80; }

// Whether a byte cannot stand where it does, after one, two and three others.
static inline uint8_t is_wrong(uint8_t byte, uint8_t one, uint8_t two, uint8_t three) {
    uint8_t due = (one >= 0xC0) | (two >= 0xE0) | (three >= 0xF0);
    uint8_t impossible = (byte == 0xC0) | (byte == 0xC1) | (byte >= 0xF5);
    // What could be written shorter, halves of a pair, and what is beyond the last character.
    uint8_t longer = ((one == 0xE0) & (byte < 0xA0)) | ((one == 0xF0) & (byte < 0x90));
    uint8_t beyond = ((one == 0xED) & (byte > 0x9F)) | ((one == 0xF4) & (byte > 0x8F));
    return (due != continues(byte)) | impossible | longer | beyond;
}

// The number of characters, or -1 where these bytes are not UTF-8.
int64_t utf8_length(const uint8_t *at, int64_t size) {
    uint8_t wrong = 0;
    for (int64_t i = 0; i < size && i < 3; i++)
        wrong |= is_wrong(at[i], i > 0 ? at[i - 1] : 0, i > 1 ? at[i - 2] : 0, 0);
    for (int64_t i = 3; i < size; i++)
        wrong |= is_wrong(at[i], at[i - 1], at[i - 2], at[i - 3]);
    for (int64_t i = 1; i <= 3 && i <= size; i++)
        wrong |= at[size - i] >= (i == 1 ? 0xC0 : i == 2 ? 0xE0 : 0xF0);
    int64_t count = 0;
    for (int64_t i = 0; i < size; i++)
        count += !continues(at[i]);
    return wrong ? -1 : count;
}

static inline uint8_t greatest_of(const uint8_t *at) {
    uint8_t greatest = 0;
    for (int i = 0; i < SPAN; i++)
        greatest = at[i] > greatest ? at[i] : greatest;
    return greatest;
}

// The characters that begin with each of 32 bytes, NOTHING where none does; one more byte is read.
static inline void short_characters(const uint8_t *at, uint16_t *found) {
    for (int i = 0; i < SPAN; i++) {
        uint16_t first = at[i], of_two = (first & 0x1F) << 6 | (at[i + 1] & 0x3F);
        found[i] = first < 0x80 ? first : first < 0xC0 ? NOTHING : of_two;
    }
}

// The character that begins here; goes on to the next.
static inline uint32_t next(const uint8_t **place) {
    const uint8_t *at = *place;
    uint32_t first = at[0];
    if (first < 0x80) {
        *place = at + 1;
        return first;
    }
    if (first < 0xE0) {
        *place = at + 2;
        return (first & 0x1F) << 6 | (at[1] & 0x3F);
    }
    if (first < 0xF0) {
        *place = at + 3;
        return (first & 0x0F) << 12 | (at[1] & 0x3F) << 6 | (at[2] & 0x3F);
    }
    *place = at + 4;
    return (first & 0x07) << 18 | (at[1] & 0x3F) << 12 | (at[2] & 0x3F) << 6 | (at[3] & 0x3F);
}

// Goes through valid UTF-8 with one more byte behind it, and does something with each `code`,
// which may be NOTHING.
#define FOR_EACH_CODE(at, size, DO)                                                             \
    for (const uint8_t *end = at + size; at < end;) {                                           \
        uint8_t greatest = end - at < SPAN ? 0xFF : greatest_of(at);                            \
        if (greatest < 0x80) {                                                                  \
            for (int i = 0; i < SPAN; i++) {                                                    \
                uint32_t code = at[i];                                                          \
                DO;                                                                             \
            }                                                                                   \
            at += SPAN;                                                                         \
        } else if (greatest < 0xE0) {                                                           \
            uint16_t found[SPAN];                                                               \
            short_characters(at, found);                                                        \
            for (int i = 0; i < SPAN; i++) {                                                    \
                uint16_t code = found[i];                                                       \
                DO;                                                                             \
            }                                                                                   \
            at += SPAN;                                                                         \
            at += at < end && continues(*at);                                                   \
        } else {                                                                                \
            for (const uint8_t *stop = end - at < SPAN ? end : at + SPAN; at < stop;) {         \
                uint32_t code = next(&at);                                                      \
                DO;                                                                             \
            }                                                                                   \
        }                                                                                       \
    }

// Note in a table of 0x110000 places which characters there are; NOTHING may be noted as well.
void utf8_mark(const uint8_t *at, int64_t size, uint8_t *seen) {
    FOR_EACH_CODE(at, size, seen[code] = 1)
}

// What a table of 0x110000 places says of each character; `out` has room for one more.
void utf8_look_up_16(const uint8_t *at, int64_t size, const uint16_t *table, uint16_t *out) {
    FOR_EACH_CODE(at, size, (*out = table[code], out += code != NOTHING))
}

void utf8_look_up_32(const uint8_t *at, int64_t size, const uint32_t *table, uint32_t *out) {
    FOR_EACH_CODE(at, size, (*out = table[code], out += code != NOTHING))
}
