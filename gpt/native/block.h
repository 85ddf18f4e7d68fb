/* What a transformer block is called with, and how its memory is laid out. */

#ifndef BLOCK_H
#define BLOCK_H

#include "kernels.h"

enum { CHUNK = 512 }; /* rows, about, that go through a block together, so that they stay in the cache */

enum {
    NORM_1, NORM_1_BIAS, QKV, QKV_BIAS, PROJ, PROJ_BIAS,
    NORM_2, NORM_2_BIAS, UP, UP_BIAS, DOWN, DOWN_BIAS, SHARE, WEIGHTS
};

/* What the forward pass leaves for the backward one */
enum {
    MEAN_1, SCALE_1, TO_ATTENTION, PROJECTED, HEAD_SCALES, VALUES, LSE, ATTENDED,
    MIDDLE, MEAN_2, SCALE_2, TO_MLP, HIDDEN, ACTIVE, KEPT
};

typedef struct {
    i64 batch, time, channels, heads, shifted, activation, layer_norm, keep, parts;
    float norm_eps, head_eps;
    float head_rms; /* the root mean square that queries and keys get; 0 leaves them as they are */
    const float *x, *first, *cosines, *sines;
    const float *attention_mask, *attended_mask, *mlp_mask; /* dropout, or null */
    const float *weights[WEIGHTS]; /* null are what the block has not */
    float *kept;
} Block;

static inline const float *from_row(const float *x, i64 from) { return x ? x + from : 0; }

static inline void activate(const Block *b, float *y, const float *x, i64 count) {
    activation_forward *const functions[] = {
        gelu_forward, relu_forward, squared_relu_forward, silu_forward,
    };
    functions[b->activation](y, x, count);
}

/* Sequences that one thread takes through the block together */
static inline i64 together(const Block *b) { return b->time < CHUNK ? CHUNK / b->time : 1; }

/* Rows for which there is room in `kept`: all, or only those that are being worked on */
static inline i64 kept_rows(const Block *b) {
    return b->time * (b->keep ? b->batch : b->parts * least(b->batch, together(b)));
}

static inline i64 kept_width(const Block *b, int what) {
    const i64 c = b->channels, widths[KEPT] = {
        [MEAN_1] = 1, [SCALE_1] = 1, [TO_ATTENTION] = c, [PROJECTED] = 3 * c,
        [HEAD_SCALES] = 2 * b->heads, [VALUES] = b->first ? c : 0, [LSE] = b->heads,
        [ATTENDED] = c, [MIDDLE] = c, [MEAN_2] = 1, [SCALE_2] = 1, [TO_MLP] = c,
        [HIDDEN] = 4 * c, [ACTIVE] = 4 * c,
    };
    return widths[what];
}

/* Where in `kept` each thing is, from this row on */
static inline void find_kept(const Block *b, i64 row, float *at[KEPT]) {
    float *start = b->kept;
    for (int what = 0; what < KEPT; what++) {
        at[what] = start + row * kept_width(b, what);
        start += kept_rows(b) * kept_width(b, what);
    }
}

static inline i64 weight_size(const Block *b, int which) {
    const i64 c = b->channels, sizes[WEIGHTS] = {
        c, c, 3 * c * c, 3 * c, c * c, c, c, c, 4 * c * c, 4 * c, 4 * c * c, c, 1,
    };
    return b->weights[which] ? sizes[which] : 0;
}

/* Where in `place` the gradient of each weight is, one after the other */
static inline void find_grads(const Block *b, float *place, float *grads[WEIGHTS]) {
    for (int w = 0; w < WEIGHTS; place += weight_size(b, w++))
        grads[w] = b->weights[w] ? place : 0;
}

#endif
