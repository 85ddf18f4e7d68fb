/* What dropout multiplies with, drawn from torch's generator number by number as torch draws it.

   The generator is the Mersenne Twister MT19937 (Matsumoto and Nishimura, 1998). Torch asks it for one
   number after the other; here all 624 that it makes at a time are made side by side. */

#include "kernels.h"

enum { NUMBERS = 624, AHEAD = 397 };

/* The beginning of what torch.get_rng_state() gives */
typedef struct {
    uint64_t seed;
    int32_t left, seeded;
    uint64_t next, numbers[NUMBERS];
} Generator;

static inline uint32_t twisted(uint32_t high, uint32_t low, uint32_t other) {
    const uint32_t mixed = (high & 0x80000000u) | (low & 0x7fffffffu);
    return other ^ (mixed >> 1) ^ (-(low & 1u) & 0x9908b0dfu);
}

static void renew(uint32_t *x) {
    for (int i = 0; i < NUMBERS - AHEAD; i++)
        x[i] = twisted(x[i], x[i + 1], x[i + AHEAD]);
    for (int i = NUMBERS - AHEAD; i < NUMBERS - 1; i++)
        x[i] = twisted(x[i], x[i + 1], x[i - (NUMBERS - AHEAD)]);
    x[NUMBERS - 1] = twisted(x[NUMBERS - 1], x[0], x[AHEAD - 1]);
}

static inline uint32_t tempered(uint32_t x) {
    x ^= x >> 11;
    x ^= (x << 7) & 0x9d2c5680u;
    x ^= (x << 15) & 0xefc60000u;
    return x ^ (x >> 18);
}

/* Two numbers as torch's random64 has them, the upper 11 bits left out */
static inline int64_t pair(uint32_t first, uint32_t second) {
    return (int64_t)(tempered(first) & 0x1fffffu) << 32 | tempered(second);
}

/* out (count) = kept where a number of 53 bits is below the limit, else 0; the generator moves on. */
void mask_draw(float *out, i64 count, i64 limit, float kept, Generator *generator) {
    uint32_t x[NUMBERS];
    /* Torch counts those that are left one too high, and makes new ones when it comes to 0. */
    i64 next = generator->left == 1 ? NUMBERS : (i64)generator->next;
    for (i64 i = 0; i < NUMBERS; i++)
        x[i] = (uint32_t)generator->numbers[i];
    while (count) {
        if (next == NUMBERS)
            renew(x), next = 0;
        const i64 pairs = least(count, (NUMBERS - next) / 2);
        for (i64 i = 0; i < pairs; i++)
            out[i] = pair(x[next + 2 * i], x[next + 2 * i + 1]) < limit ? kept : 0;
        out += pairs, count -= pairs, next += 2 * pairs;
        if (count && next == NUMBERS - 1) {
            const uint32_t last = x[next];
            renew(x), next = 1;
            *out++ = pair(last, x[0]) < limit ? kept : 0;
            count--;
        }
    }
    for (i64 i = 0; i < NUMBERS; i++)
        generator->numbers[i] = x[i];
    generator->next = next, generator->left = (int32_t)(NUMBERS + 1 - next);
}
