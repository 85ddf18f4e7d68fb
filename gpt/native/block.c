/* A transformer block in float32, forward and backward: attention and MLP, each after a norm and
   added to the stream.

   The batch has parts. Where there are several, each thread takes its own through the whole block,
   without waiting for the others between one operation and the next, and only the gradients of the
   weights are summed at the end. Where there is one, the threads share each operation. */

#include <string.h>

#include "block.h"
#include "vectors.h"

static activation_both *const ACTIVATE_WITH_SLOPE[] = {
    gelu_both, relu_both, squared_relu_both, silu_both,
};

/* y (rows, to) = or += x (rows, from) times the transposed weight (to, from), and its bias */
static void linear(const Block *b, int weight, float *y, const float *x, i64 rows, i64 from, i64 to,
                   int add, float *space) {
    const float *bias = b->weights[weight + 1];
    product(y, to, x, from, 1, b->weights[weight], 1, from, rows, to, from, add, space);
    for (i64 r = 0; bias && r < rows; r++)
        for (i64 i = 0; i < to; i += LANES)
            store(y + r * to + i, load(y + r * to + i) + load(bias + i));
}

/* The gradients of `linear`: dx of its input; those of weight and bias are set or, with `add`, added
   to. */
static void linear_backward(const Block *b, int weight, float *const grads[WEIGHTS], float *dx,
                            const float *dy, const float *x, i64 rows, i64 from, i64 to, int add,
                            float *space) {
    float *dbias = grads[weight + 1];
    product(grads[weight], from, dy, 1, to, x, from, 1, to, from, rows, add, space);
    if (dbias && !add)
        memset(dbias, 0, 4 * to);
    for (i64 r = 0; dbias && r < rows; r++)
        for (i64 i = 0; i < to; i += LANES)
            store(dbias + i, load(dbias + i) + load(dy + r * to + i));
    product(dx, from, dy, to, 1, b->weights[weight], from, 1, rows, from, to, 0, space);
}

/* y = mask times x, and through added where it is not null */
static void masked(float *y, const float *x, const float *mask, const float *through, i64 count) {
#pragma omp parallel for schedule(static) if (is_shared(count))
    for (i64 i = 0; i < count; i += LANES) {
        vec kept = load(mask + i) * load(x + i);
        if (through)
            kept += load(through + i);
        store(y + i, kept);
    }
}

/* y = through + what `linear` makes of x, or what dropout leaves of it; `space` has room for y more. */
static void add_linear(const Block *b, int weight, float *y, const float *through, const float *x,
                       const float *mask, i64 rows, i64 from, float *space) {
    const i64 c = b->channels;
    if (mask) {
        linear(b, weight, space, x, rows, from, c, 0, space + rows * c);
        masked(y, space, mask, through, rows * c);
    } else {
        memcpy(y, through, 4 * rows * c);
        linear(b, weight, y, x, rows, from, c, 1, space);
    }
}

/* Each token's first channels become those of the token before, the first token's zero. */
static void shift(const Block *b, float *x, i64 sequences) {
    for (i64 s = 0; s < sequences && b->shifted; s++, x += b->time * b->channels) {
        for (i64 t = b->time - 1; t > 0; t--)
            memcpy(x + t * b->channels, x + (t - 1) * b->channels, 4 * b->shifted);
        memset(x, 0, 4 * b->shifted);
    }
}

static void shift_backward(const Block *b, float *x, i64 sequences) {
    for (i64 s = 0; s < sequences && b->shifted; s++, x += b->time * b->channels) {
        for (i64 t = 0; t < b->time - 1; t++)
            memcpy(x + t * b->channels, x + (t + 1) * b->channels, 4 * b->shifted);
        memset(x + (b->time - 1) * b->channels, 0, 4 * b->shifted);
    }
}

static void norm(const Block *b, int weight, float *y, float *mean, float *scale, const float *x,
                 i64 sequences) {
    layer_norm_forward(y, b->layer_norm ? mean : 0, scale, x, b->weights[weight],
                       b->weights[weight + 1], sequences * b->time, b->channels, b->norm_eps);
    shift(b, y, sequences);
}

/* dx = through + the norm's gradient; `space` has room for two rows. */
static void norm_backward(const Block *b, int weight, float *const grads[WEIGHTS], float *dx,
                          float *dy, const float *through, const float *x, const float *mean,
                          const float *scale, i64 sequences, int add, float *space) {
    const i64 c = b->channels;
    float *sums[2] = {grads[weight] ? space : 0, grads[weight + 1] ? space + c : 0};
    shift_backward(b, dy, sequences);
    layer_norm_backward(dx, sums[0], sums[1], dy, through, x, b->weights[weight],
                        b->layer_norm ? mean : 0, scale, sequences * b->time, c, 1);
    for (int which = 0; which < 2; which++)
        for (i64 i = 0; sums[which] && i < c; i++)
            grads[weight + which][i] = sums[which][i] + (add ? grads[weight + which][i] : 0);
}

/* values (rows, channels) = those projected, or between them and the first block's by the share */
static void mix(const Block *b, float *values, const float *projected, const float *first, i64 rows) {
    const i64 c = b->channels;
    const float share = *b->weights[SHARE];
    for (i64 r = 0; r < rows; r++)
        for (i64 i = 0; i < c; i += LANES) {
            vec own = load(projected + 3 * r * c + 2 * c + i);
            store(values + r * c + i, own + share * (load(first + r * c + i) - own));
        }
}

/* dprojected holds the gradient of the mixed values, and then that of the block's own. */
static void mix_backward(const Block *b, float *dprojected, float *dfirst, float *dshare,
                         const float *projected, const float *first, i64 rows, int add) {
    const i64 c = b->channels;
    const float share = *b->weights[SHARE];
    if (!add)
        *dshare = 0;
    for (i64 r = 0; r < rows; r++) {
        vec sum = {0};
        for (i64 i = 0; i < c; i += LANES) {
            vec grad = load(dprojected + 3 * r * c + 2 * c + i);
            vec own = load(projected + 3 * r * c + 2 * c + i);
            sum += grad * (load(first + r * c + i) - own);
            store(dfirst + r * c + i, share * grad);
            store(dprojected + 3 * r * c + 2 * c + i, grad - share * grad);
        }
        *dshare += total(sum);
    }
}

static const float *attention_mask(const Block *b, i64 start) {
    return from_row(b->attention_mask, start * b->heads * b->time * b->time);
}

/* out (batch, time, channels) = the stream after the block, for the sequences from `start` on, whose
   rows are kept from `place` on; the block's own values as well, where they are wanted. */
static int sequences_forward(const Block *b, float *out, float *values, i64 start, i64 sequences,
                             i64 place, float *space) {
    const i64 c = b->channels, rows = sequences * b->time, from = start * b->time * c;
    const float *x = b->x + from, *first = from_row(b->first, from);
    float *kept[KEPT];
    find_kept(b, place, kept);
    norm(b, NORM_1, kept[TO_ATTENTION], kept[MEAN_1], kept[SCALE_1], x, sequences);
    linear(b, QKV, kept[PROJECTED], kept[TO_ATTENTION], rows, c, 3 * c, 0, space);
    if (b->head_rms || b->cosines)
        rms_rotate_forward(kept[PROJECTED], 3 * c, kept[HEAD_SCALES], kept[PROJECTED], 3 * c,
                           b->cosines, b->sines, rows, b->time, 2 * b->heads, c / b->heads,
                           b->head_eps, b->head_rms);
    for (i64 r = 0; values && r < rows; r++)
        memcpy(values + from + r * c, kept[PROJECTED] + 3 * r * c + 2 * c, 4 * c);
    if (first)
        mix(b, kept[VALUES], kept[PROJECTED], first, rows);
    if (attention_forward(kept[ATTENDED], kept[LSE], kept[PROJECTED], 3 * c,
                          first ? kept[VALUES] : kept[PROJECTED] + 2 * c, first ? c : 3 * c,
                          attention_mask(b, start), sequences, b->time, b->heads, c / b->heads))
        return 1;
    add_linear(b, PROJ, kept[MIDDLE], x, kept[ATTENDED], from_row(b->attended_mask, from), rows, c, space);
    norm(b, NORM_2, kept[TO_MLP], kept[MEAN_2], kept[SCALE_2], kept[MIDDLE], sequences);
    linear(b, UP, kept[HIDDEN], kept[TO_MLP], rows, c, 4 * c, 0, space);
    if (b->keep)
        ACTIVATE_WITH_SLOPE[b->activation](kept[ACTIVE], kept[HIDDEN], kept[HIDDEN], 4 * rows * c);
    else
        activate(b, kept[ACTIVE], kept[HIDDEN], 4 * rows * c);
    add_linear(b, DOWN, out + from, kept[MIDDLE], kept[ACTIVE], from_row(b->mlp_mask, from), rows, 4 * c,
               space);
    return 0;
}

/* The gradient of what dropout was applied to, in `left`; dy itself without a mask */
static const float *undropped(float *left, const float *dy, const float *mask, i64 count) {
    if (!mask)
        return dy;
    masked(left, dy, mask, 0, count);
    return left;
}

/* The gradients of `sequences_forward`; those of the weights are set or, with `add`, added to. */
static int sequences_backward(const Block *b, float *dx, float *dfirst,
                              float *const grads[WEIGHTS], const float *dout, const float *dvalues,
                              i64 start, i64 sequences, int add, float *space) {
    const i64 c = b->channels, rows = sequences * b->time, from = start * b->time * c;
    const float *x = b->x + from, *first = from_row(b->first, from);
    float *kept[KEPT], *wide = space, *narrow = wide + 4 * rows * c, *left = narrow + rows * c;
    float *rest = left + rows * c;
    const float *above;
    find_kept(b, start * b->time, kept);
    dx += from, dout += from;
    above = undropped(left, dout, from_row(b->mlp_mask, from), rows * c);
    linear_backward(b, DOWN, grads, wide, above, kept[ACTIVE], rows, 4 * c, c, add, rest);
    masked(wide, wide, kept[HIDDEN], 0, 4 * rows * c);
    linear_backward(b, UP, grads, narrow, wide, kept[TO_MLP], rows, c, 4 * c, add, rest);
    norm_backward(b, NORM_2, grads, dx, narrow, dout, kept[MIDDLE], kept[MEAN_2], kept[SCALE_2],
                  sequences, add, rest);
    above = undropped(left, dx, from_row(b->attended_mask, from), rows * c);
    linear_backward(b, PROJ, grads, narrow, above, kept[ATTENDED], rows, c, c, add, rest);
    if (attention_backward(wide, 3 * c, wide + 2 * c, 3 * c, narrow, kept[ATTENDED], kept[LSE],
                           kept[PROJECTED], 3 * c, first ? kept[VALUES] : kept[PROJECTED] + 2 * c,
                           first ? c : 3 * c, attention_mask(b, start), sequences, b->time, b->heads,
                           c / b->heads))
        return 1;
    if (first)
        mix_backward(b, wide, dfirst + from, grads[SHARE], kept[PROJECTED], first, rows, add);
    for (i64 r = 0; dvalues && r < rows; r++)
        for (i64 i = 0; i < c; i += LANES)
            store(wide + 3 * r * c + 2 * c + i,
                  load(wide + 3 * r * c + 2 * c + i) + load(dvalues + from + r * c + i));
    if (b->head_rms || b->cosines)
        rms_rotate_backward(wide, 3 * c, wide, 3 * c, kept[PROJECTED], 3 * c, kept[HEAD_SCALES],
                            b->cosines, b->sines, rows, b->time, 2 * b->heads, c / b->heads,
                            b->head_rms);
    linear_backward(b, QKV, grads, narrow, wide, kept[TO_ATTENTION], rows, c, 3 * c, add, rest);
    norm_backward(b, NORM_1, grads, dx, narrow, dx, x, kept[MEAN_1], kept[SCALE_1], sequences, add, rest);
    return 0;
}

static i64 room_of_products(const Block *b) {
    return product_room(4 * b->channels, b->parts > 1 ? 1 : omp_get_max_threads());
}

/* Floats of all that the forward pass keeps */
i64 block_kept(const Block *b) {
    i64 width = 0;
    for (int what = 0; what < KEPT; what++)
        width += kept_width(b, what);
    return width * kept_rows(b);
}

static int part_forward(const Block *b, float *out, float *values, i64 part) {
    int failed = 0;
    const i64 step = together(b), rows = least(step, b->batch) * b->time;
    const i64 end = b->batch * (part + 1) / b->parts;
    float *space = room_for(room_of_products(b) + rows * b->channels);
    for (i64 s = b->batch * part / b->parts; s < end; s += step) {
        const i64 place = (b->keep ? s : part * least(b->batch, step)) * b->time;
        if (!space || sequences_forward(b, out, values, s, least(step, end - s), place, space))
            failed = 1;
    }
    free(space);
    return failed;
}

/* out (batch, time, channels), and where it is not null values, of the same shape. 0, or 1 without
   memory. */
int block_forward(const Block *b, float *out, float *values) {
    int failed = 0;
    /* A region of one thread would make those that share within it anew each time. */
    if (b->parts == 1)
        return part_forward(b, out, values, 0);
#pragma omp parallel for schedule(static, 1) num_threads(b->parts) reduction(| : failed)
    for (i64 part = 0; part < b->parts; part++)
        failed |= part_forward(b, out, values, part);
    return failed;
}

/* What the parts after the first add to the gradients */
static void add_parts(const Block *b, float *const grads[WEIGHTS], float *others, i64 all_weights) {
    for (i64 part = 1; part < b->parts; part++, others += all_weights) {
        float *more[WEIGHTS];
        find_grads(b, others, more);
        for (int w = 0; w < WEIGHTS; w++) {
            const i64 size = weight_size(b, w);
#pragma omp parallel for schedule(static) if (is_shared(size))
            for (i64 i = 0; i < size; i++)
                grads[w][i] += more[w][i];
        }
    }
}

/* The gradients of a part; `space` has `backward_room`. */
static int part_backward(const Block *b, float *dx, float *dfirst, float *const grads[WEIGHTS],
                         const float *dout, const float *dvalues, i64 part, float *space) {
    int failed = 0;
    const i64 step = together(b), start = b->batch * part / b->parts;
    const i64 end = b->batch * (part + 1) / b->parts;
    for (i64 s = start; s < end; s += step)
        failed |= sequences_backward(b, dx, dfirst, grads, dout, dvalues, s, least(step, end - s),
                                     s > start, space);
    return failed;
}

static i64 backward_room(const Block *b) {
    return 6 * least(together(b), b->batch) * b->time * b->channels + room_of_products(b);
}

/* The gradients of x, of `first`, and of the weights, null for those that are. 0, or 1 without
   memory. */
int block_backward(const Block *b, float *dx, float *dfirst, float *const *grads, const float *dout,
                   const float *dvalues) {
    int failed = 0;
    i64 all_weights = 0;
    for (int w = 0; w < WEIGHTS; w++)
        all_weights += weight_size(b, w);
    const i64 room = backward_room(b);
    float *others = room_for((b->parts - 1) * all_weights + b->parts * room);
    float *space = others + (b->parts - 1) * all_weights;
    if (!others)
        return 1;
    if (b->parts == 1)
        failed = part_backward(b, dx, dfirst, grads, dout, dvalues, 0, space);
    else
#pragma omp parallel for schedule(static, 1) num_threads(b->parts) reduction(| : failed)
        for (i64 part = 0; part < b->parts; part++) {
            float *own[WEIGHTS];
            find_grads(b, others + (part ? part - 1 : 0) * all_weights, own);
            failed |= part_backward(b, dx, dfirst, part ? own : grads, dout, dvalues, part,
                                    space + part * room);
        }
    add_parts(b, grads, others, all_weights);
    free(others);
    return failed;
}
