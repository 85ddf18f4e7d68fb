/* One token more of each sequence through a transformer block, whose keys and values of the tokens
   before are kept: a few rows times every weight, which is a matter of reading the weights once.

   The threads share every product; what is left for a few rows is the work of one. */

#include <math.h>
#include <string.h>

#include "block.h"
#include "vectors.h"

enum { OUTPUTS = 4, ROWS = 3 };

/* What one block keeps of the tokens so far: keys and values (batch, heads, room, channels) of which
   `length` are there, and the first channels of what attention and MLP were given last. */
typedef struct {
    float *keys, *values;
    i64 length, room;
    float *to_attention, *to_mlp;
} Past;

/* Working memory for all rows */
typedef struct {
    float *normed, *projected, *attended, *middle, *hidden, *scores, *mean, *scale;
} Space;

static i64 scores_room(const Past *past) { return (past->length + LANES) / LANES * LANES; }

static float *make_space(const Block *b, const Past *past, Space *s) {
    const i64 wide = b->batch * b->channels, heads = b->batch * b->heads;
    float *at = room_for(10 * wide + heads * scores_room(past) + 2 * (heads + b->batch));
    s->normed = at, s->projected = at + wide, s->attended = at + 4 * wide, s->middle = at + 5 * wide;
    s->hidden = at + 6 * wide, s->scores = at + 10 * wide;
    s->scale = s->scores + heads * scores_room(past), s->mean = s->scale + 2 * heads;
    return at;
}

/* y (rows, OUTPUTS) = or += x (rows, from) times the transposed weight (OUTPUTS, from), and its bias.
   Called with a constant for rows, and inlined. */
static inline __attribute__((always_inline)) void
outputs(const int rows, float *y, i64 y_row, const float *x, const float *weight, const float *bias,
        i64 from, int add) {
    vec sum[ROWS][OUTPUTS] = {0};
    for (i64 i = 0; i < from; i += LANES)
#pragma GCC unroll 4
        for (int o = 0; o < OUTPUTS; o++) {
            const vec part = load(weight + o * from + i);
#pragma GCC unroll 3
            for (int r = 0; r < rows; r++)
                sum[r][o] += part * load(x + r * from + i);
        }
    for (int r = 0; r < rows; r++)
        for (int o = 0; o < OUTPUTS; o++)
            y[r * y_row + o] =
                total(sum[r][o]) + (bias ? bias[o] : 0) + (add ? y[r * y_row + o] : 0);
}

/* y (batch, to) = or += what the weight makes of x (batch, from); shared by the threads. */
static void linear(const Block *b, int weight, float *y, const float *x, i64 from, i64 to, int add) {
#pragma omp for schedule(static)
    for (i64 o = 0; o < to; o += OUTPUTS) {
        const float *w = b->weights[weight] + o * from, *in = x;
        const float *bias = b->weights[weight + 1] ? b->weights[weight + 1] + o : 0;
        float *out = y + o;
        i64 rows = b->batch;
        for (; rows >= ROWS; rows -= ROWS, in += ROWS * from, out += ROWS * to)
            outputs(ROWS, out, to, in, w, bias, from, add);
        if (rows == 2)
            outputs(2, out, to, in, w, bias, from, add);
        else if (rows == 1)
            outputs(1, out, to, in, w, bias, from, add);
    }
}

/* y (batch, channels) = x normalised, its first channels those of the token before; `before` gets
   this token's. */
static void norm(const Block *b, int weight, float *y, const float *x, float *before, const Space *s) {
    layer_norm_forward(y, b->layer_norm ? s->mean : 0, s->scale, x, b->weights[weight],
                       b->weights[weight + 1], b->batch, b->channels, b->norm_eps);
    for (i64 n = 0; n < b->batch; n++)
        for (i64 i = 0; i < b->shifted; i += LANES) {
            float *here = y + n * b->channels + i, *there = before + n * b->shifted + i;
            const vec own = load(here);
            store(here, load(there));
            store(there, own);
        }
}

/* Put this token's keys and values behind those of the tokens before; `values` gets the latter as
   they are before the first block's are mixed in. */
static void append(const Block *b, const Past *past, float *projected, float *values) {
    const i64 c = b->channels, size = c / b->heads;
    const float share = b->first ? *b->weights[SHARE] : 0;
    for (i64 n = 0; n < b->batch; n++)
        for (i64 i = 0; i < c; i += LANES) {
            const float *key = projected + (3 * n + 1) * c + i;
            const i64 to = ((n * b->heads + i / size) * past->room + past->length) * size + i % size;
            vec value = load(key + c);
            if (values)
                store(values + n * c + i, value);
            if (b->first)
                value += share * (load(b->first + n * c + i) - value);
            store(past->keys + to, load(key));
            store(past->values + to, value);
        }
}

/* attended (channels of a head) = the values so far, weighted by what the query finds in the keys */
static void attend(float *attended, const float *query, const float *keys, const float *values,
                   float *scores, i64 tokens, i64 size) {
    const float scale = 1 / sqrtf(size);
    float most = -INFINITY;
    for (i64 t = 0; t < tokens; t++) {
        vec sum = {0};
        for (i64 i = 0; i < size; i += LANES)
            sum += load(query + i) * load(keys + t * size + i);
        scores[t] = scale * total(sum);
        most = scores[t] > most ? scores[t] : most;
    }
    for (i64 t = tokens; t % LANES; t++)
        scores[t] = -INFINITY;
    vec sums = {0};
    for (i64 t = 0; t < tokens; t += LANES) {
        const vec weights = exponential(load(scores + t) - most);
        store(scores + t, weights);
        sums += weights;
    }
    const float share = 1 / total(sums);
    for (i64 i = 0; i < size; i += LANES) {
        vec sum = {0};
        for (i64 t = 0; t < tokens; t++)
            sum += scores[t] * load(values + t * size + i);
        store(attended + i, share * sum);
    }
}

static void attend_all(const Block *b, const Past *past, const Space *s) {
    const i64 c = b->channels, size = c / b->heads, tokens = past->length + 1;
#pragma omp for schedule(static)
    for (i64 h = 0; h < b->batch * b->heads; h++) {
        const i64 from = h * past->room * size, row = h / b->heads, within = h % b->heads * size;
        attend(s->attended + row * c + within, s->projected + 3 * row * c + within, past->keys + from,
               past->values + from, s->scores + h * scores_room(past), tokens, size);
    }
}

/* What each thread does */
static void work(const Block *b, const Past *past, const Space *s, float *out, float *values) {
    const i64 c = b->channels, n = b->batch, place = past->length * (c / b->heads);
#pragma omp single
    norm(b, NORM_1, s->normed, b->x, past->to_attention, s);
    linear(b, QKV, s->projected, s->normed, c, 3 * c, 0);
#pragma omp single
    {
        if (b->head_rms || b->cosines)
            rms_rotate_forward(s->projected, 3 * c, s->scale, s->projected, 3 * c,
                               from_row(b->cosines, place), from_row(b->sines, place), n, 1,
                               2 * b->heads, c / b->heads, b->head_eps, b->head_rms);
        append(b, past, s->projected, values);
        memcpy(s->middle, b->x, 4 * n * c);
    }
    attend_all(b, past, s);
    linear(b, PROJ, s->middle, s->attended, c, c, 1);
#pragma omp single
    {
        norm(b, NORM_2, s->normed, s->middle, past->to_mlp, s);
        memcpy(out, s->middle, 4 * n * c);
    }
    linear(b, UP, s->hidden, s->normed, c, 4 * c, 0);
#pragma omp single
    activate(b, s->hidden, s->hidden, 4 * n * c);
    linear(b, DOWN, out, s->hidden, 4 * c, c, 1);
}

/* out (batch, channels) = the stream after the block, of one token of each sequence. The block's own
   values as well, where they are not null. 0, or 1 without memory. */
int token_forward(const Block *b, const Past *past, float *out, float *values) {
    Space s;
    float *space = make_space(b, past, &s);
    if (!space)
        return 1;
    if (b->parts == 1)
        work(b, past, &s, out, values);
    else
#pragma omp parallel num_threads(b->parts)
        work(b, past, &s, out, values);
    free(space);
    return 0;
}
