/* Causal self-attention in float32, forward and backward, for short contexts.

   Rows are taken BLOCK at a time, and only the columns that they may see, so that the scores stay in
   the cache; the backward pass computes them again from each row's log-sum-exp, as FlashAttention
   does (arXiv:2205.14135). Each batch and head is one thread's work from beginning to end: nothing
   depends on how many threads there are.

   Queries, keys and values are (batch, time, heads, channels), each token `row` floats after the one
   before. The number of channels is a multiple of LANES. */

#include <math.h>
#include <string.h>

#include "kernels.h"
#include "tile.h"
#include "vectors.h"

enum { BLOCK = 48 };

/* c (rows, columns) = or += a (rows, depth) times b (depth, columns); columns a multiple of LANES */
static void multiply(float *c, i64 c_row, const float *a, i64 a_row, i64 a_column, const float *b,
                     i64 b_row, i64 rows, i64 columns, i64 depth, int add) {
    i64 j = 0;
    for (; j + WIDE <= columns; j += WIDE)
        stripe(2, c + j, c_row, a, a_row, a_column, b + j, b_row, rows, depth, add);
    if (j < columns)
        stripe(1, c + j, c_row, a, a_row, a_column, b + j, b_row, rows, depth, add);
}

/* out (channels, room) = scale times x (time, channels) transposed, zeros behind it */
static void transpose(float *out, i64 room, const float *x, i64 row, i64 time, i64 channels,
                      float scale) {
    for (i64 c = 0; c < channels; c += LANES) {
        for (i64 t = 0; t < time; t++) {
            vec part = scale * load(x + t * row + c);
            for (int i = 0; i < LANES; i++)
                out[(c + i) * room + t] = part[i];
        }
        for (int i = 0; i < LANES; i++)
            for (i64 t = time; t < room; t++)
                out[(c + i) * room + t] = 0;
    }
}

/* Scores from `seen` on are of tokens still to come. */
static void hide(float *scores, i64 seen, i64 width) {
    for (i64 j = seen; j < width; j++)
        scores[j] = -INFINITY;
}

static float largest(const float *scores, i64 width) {
    vec most = load(scores);
    for (i64 j = LANES; j < width; j += LANES) {
        vec x = load(scores + j);
        most = choose(x > most, x, most);
    }
    float one = most[0];
    for (int i = 1; i < LANES; i++)
        one = most[i] > one ? most[i] : one;
    return one;
}

/* Scores become e^(score - shift); their sum */
static float exponentials(float *scores, i64 width, float shift) {
    vec sum = {0};
    for (i64 j = 0; j < width; j += LANES) {
        vec weight = exponential(load(scores + j) - shift);
        store(scores + j, weight);
        sum += weight;
    }
    return total(sum);
}

/* out (time, channels) = x, its rows near each other */
static void gather(float *out, const float *x, i64 row, i64 time, i64 channels) {
    for (i64 t = 0; t < time; t++)
        memcpy(out + t * (channels + WIDE), x + t * row, 4 * channels);
}

/* x becomes zero, or larger, as the mask says; null leaves it */
static void drop(float *x, const float *mask, i64 count) {
    for (i64 j = 0; mask && j < count; j++)
        x[j] *= mask[j];
}

static i64 padded(i64 time) { return (time + WIDE - 1) / WIDE * WIDE; }

/* Rows are so far apart that a panel of them does not fall on the same few places of the cache. */
static i64 spread(i64 time) { return padded(time) + WIDE; }

/* Floats that a head needs to work, in the backward pass */
static i64 head_room(i64 time, i64 channels) {
    return 2 * (channels + BLOCK) * spread(time) + time * (channels + WIDE);
}

static void forward(float *out, float *lse, const float *q, i64 q_row, const float *k, i64 k_row,
                    const float *v, i64 v_row, i64 out_row, const float *mask, i64 time, i64 channels,
                    float *space) {
    i64 room = spread(time), values_row = channels + WIDE;
    float *keys = space, *scores = keys + channels * room, *values = scores + BLOCK * room;
    transpose(keys, room, k, k_row, time, channels, 1.0f / sqrtf(channels));
    gather(values, v, v_row, time, channels);
    for (i64 i = 0; i < time; i += BLOCK) {
        i64 rows = least(BLOCK, time - i), width = padded(i + rows);
        multiply(scores, room, q + i * q_row, q_row, 1, keys, room, rows, width, channels, 0);
        for (i64 r = 0; r < rows; r++) {
            float *row = scores + r * room;
            hide(row, i + r + 1, width);
            float most = largest(row, width), sum = exponentials(row, width, most), share = 1 / sum;
            for (i64 j = 0; j < width; j += LANES)
                store(row + j, share * load(row + j));
            drop(row, mask ? mask + (i + r) * time : 0, i + r + 1);
            lse[i + r] = most + logf(sum);
        }
        multiply(out + i * out_row, out_row, scores, room, 1, values, values_row, rows, channels, i + rows,
                 0);
    }
}

/* What each weight's gradient is above their mean, times the weight: the scores' gradient */
static void scores_gradient(float *grads, const float *weights, i64 width, float mean, float scale) {
    for (i64 j = 0; j < width; j += LANES)
        store(grads + j, load(weights + j) * (load(grads + j) - mean) * scale);
}

static float dot(const float *a, const float *b, i64 channels) {
    vec sum = {0};
    for (i64 c = 0; c < channels; c += LANES)
        sum += load(a + c) * load(b + c);
    return total(sum);
}

static void backward(float *dq, float *dk, i64 dqk_row, float *dv, i64 dv_row, const float *grad,
                     const float *out, i64 out_row, const float *lse, const float *q, i64 q_row,
                     const float *k, i64 k_row, const float *v, i64 v_row, const float *mask, i64 time,
                     i64 channels, float *space) {
    i64 room = spread(time), near_row = channels + WIDE;
    float *keys = space, *values = keys + channels * room, *weights = values + channels * room;
    float *grads = weights + BLOCK * room, *near = grads + BLOCK * room, scale = 1.0f / sqrtf(channels);
    transpose(keys, room, k, k_row, time, channels, scale);
    transpose(values, room, v, v_row, time, channels, 1);
    gather(near, k, k_row, time, channels);
    for (i64 i = 0; i < time; i += BLOCK) {
        i64 rows = least(BLOCK, time - i), seen = i + rows, width = padded(seen);
        const float *above = grad + i * out_row, *queries = q + i * q_row;
        multiply(weights, room, queries, q_row, 1, keys, room, rows, width, channels, 0);
        multiply(grads, room, above, out_row, 1, values, room, rows, width, channels, 0);
        for (i64 r = 0; r < rows; r++) {
            const float *row_mask = mask ? mask + (i + r) * time : 0;
            hide(weights + r * room, i + r + 1, width);
            exponentials(weights + r * room, width, lse[i + r]);
            float mean = dot(above + r * out_row, out + (i + r) * out_row, channels);
            drop(grads + r * room, row_mask, i + r + 1);
            scores_gradient(grads + r * room, weights + r * room, width, mean, scale);
            drop(weights + r * room, row_mask, i + r + 1);
        }
        multiply(dq + i * dqk_row, dqk_row, grads, room, 1, near, near_row, rows, channels, seen, 0);
        /* Earlier keys and values have had something from earlier rows; those of this block not. */
        multiply(dk, dqk_row, grads, 1, room, queries, q_row, i, channels, rows, 1);
        multiply(dk + i * dqk_row, dqk_row, grads + i, 1, room, queries, q_row, rows, channels, rows, 0);
        multiply(dv, dv_row, weights, 1, room, above, out_row, i, channels, rows, 1);
        multiply(dv + i * dv_row, dv_row, weights + i, 1, room, above, out_row, rows, channels, rows, 0);
    }
}

/* out (batch, time, heads, channels) and lse (batch, heads, time) from qk (batch, time, 2 heads,
   channels), queries before keys, and v (batch, time, heads, channels). The weights are multiplied
   by the mask (batch, heads, time, time), which may be null. 0, or 1 without memory. */
int attention_forward(float *out, float *lse, const float *qk, i64 qk_row, const float *v, i64 v_row,
                      const float *mask, i64 batch, i64 time, i64 heads, i64 channels) {
    int failed = 0;
#pragma omp parallel if (is_shared(batch * time * heads * channels))
    {
        float *space = room_for(head_room(time, channels));
        if (!space)
            failed = 1;
#pragma omp for
        for (i64 task = 0; task < batch * heads; task++) {
            i64 b = task / heads, h = task % heads, wide = heads * channels;
            const float *q = qk + b * time * qk_row + h * channels;
            if (space)
                forward(out + b * time * wide + h * channels, lse + task * time, q, qk_row, q + wide,
                        qk_row, v + b * time * v_row + h * channels, v_row, wide,
                        mask ? mask + task * time * time : 0, time, channels, space);
        }
        free(space);
    }
    return failed;
}

/* The gradients dqk and dv from that of out, which is contiguous. 0, or 1 without memory. */
int attention_backward(float *dqk, i64 dqk_row, float *dv, i64 dv_row, const float *grad,
                       const float *out, const float *lse, const float *qk, i64 qk_row,
                       const float *v, i64 v_row, const float *mask, i64 batch, i64 time, i64 heads,
                       i64 channels) {
    int failed = 0;
#pragma omp parallel if (is_shared(batch * time * heads * channels))
    {
        float *space = room_for(head_room(time, channels));
        if (!space)
            failed = 1;
#pragma omp for
        for (i64 task = 0; task < batch * heads; task++) {
            i64 b = task / heads, h = task % heads, wide = heads * channels;
            i64 at = b * time * wide + h * channels;
            const float *q = qk + b * time * qk_row + h * channels;
            float *dq = dqk + b * time * dqk_row + h * channels;
            if (space)
                backward(dq, dq + wide, dqk_row, dv + b * time * dv_row + h * channels, dv_row,
                         grad + at, out + at, wide, lse + task * time, q, qk_row, q + wide, qk_row,
                         v + b * time * v_row + h * channels, v_row,
                         mask ? mask + task * time * time : 0, time, channels, space);
        }
        free(space);
    }
    return failed;
}
