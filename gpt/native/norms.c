/* Layer norm, and RMS norm with rotary positions, in float32, forward and backward. */

#include <math.h>

#include "vectors.h"

/* y (rows, channels) = (x - mean) * scale * weight + bias; bias may be null. `scale` is one over
   the standard deviation of each row. Channels are a multiple of LANES. */
void layer_norm_forward(float *y, float *mean, float *scale, const float *x, const float *weight,
                        const float *bias, i64 rows, i64 channels, float eps) {
#pragma omp parallel for schedule(static)
    for (i64 r = 0; r < rows; r++) {
        const float *in = x + r * channels;
        vec sum = {0}, squares = {0};
        for (i64 i = 0; i < channels; i += LANES)
            sum += load(in + i);
        float middle = total(sum) / channels;
        for (i64 i = 0; i < channels; i += LANES) {
            vec off = load(in + i) - middle;
            squares += off * off;
        }
        float factor = 1 / sqrtf(total(squares) / channels + eps);
        for (i64 i = 0; i < channels; i += LANES) {
            vec out = (load(in + i) - middle) * factor * load(weight + i);
            if (bias)
                out += load(bias + i);
            store(y + r * channels + i, out);
        }
        mean[r] = middle;
        scale[r] = factor;
    }
}

/* dx, and what each of `parts` equal parts of the rows adds to the gradients of weight and bias:
   dweight and dbias (parts, channels); dbias may be null. */
void layer_norm_backward(float *dx, float *dweight, float *dbias, const float *grad, const float *x,
                         const float *weight, const float *mean, const float *scale, i64 rows,
                         i64 channels, i64 parts) {
#pragma omp parallel for schedule(static)
    for (i64 p = 0; p < parts; p++) {
        float *dw = dweight + p * channels, *db = dbias ? dbias + p * channels : 0;
        for (i64 i = 0; i < channels; i += LANES) {
            store(dw + i, (vec){0});
            if (db)
                store(db + i, (vec){0});
        }
        for (i64 r = rows * p / parts; r < rows * (p + 1) / parts; r++) {
            const float *in = x + r * channels, *above = grad + r * channels;
            float middle = mean[r], factor = scale[r];
            vec sum = {0}, along = {0};
            for (i64 i = 0; i < channels; i += LANES) {
                vec g = load(above + i), normal = (load(in + i) - middle) * factor;
                vec weighted = g * load(weight + i);
                sum += weighted;
                along += weighted * normal;
                store(dw + i, load(dw + i) + g * normal);
                if (db)
                    store(db + i, load(db + i) + g);
            }
            float shift = total(sum) / channels, tilt = total(along) / channels;
            for (i64 i = 0; i < channels; i += LANES) {
                vec normal = (load(in + i) - middle) * factor;
                vec weighted = load(above + i) * load(weight + i);
                store(dx + r * channels + i, (weighted - shift - normal * tilt) * factor);
            }
        }
    }
}

/* a + bi, c + di, ... times the unit complex numbers whose real parts, each twice, are `cosines` and
   whose imaginary parts, each twice and first negated, are `sines` */
static inline vec turned(vec x, vec cosines, vec sines) {
    return x * cosines + partners(x) * sines;
}

/* y (tokens, groups, channels), contiguous, = x over the root mean square of its channels, turned by
   its position; `scale` (tokens, groups) is what it was multiplied with. Tokens of x are `row` floats
   apart. Without `norm` x is only turned; without cosines only normalised. */
void rms_rotate_forward(float *y, float *scale, const float *x, i64 row, const float *cosines,
                        const float *sines, i64 tokens, i64 time, i64 groups, i64 channels,
                        float eps, int norm) {
#pragma omp parallel for schedule(static)
    for (i64 t = 0; t < tokens; t++) {
        i64 place = t % time * channels;
        for (i64 g = 0; g < groups; g++) {
            const float *in = x + t * row + g * channels;
            float *out = y + (t * groups + g) * channels, factor = 1;
            if (norm) {
                vec squares = {0};
                for (i64 i = 0; i < channels; i += LANES)
                    squares += load(in + i) * load(in + i);
                factor = 1 / sqrtf(total(squares) / channels + eps);
            }
            for (i64 i = 0; i < channels; i += LANES) {
                vec part = load(in + i) * factor;
                if (cosines)
                    part = turned(part, load(cosines + place + i), load(sines + place + i));
                store(out + i, part);
            }
            scale[t * groups + g] = factor;
        }
    }
}

/* dx (tokens, groups, channels), contiguous, from the gradient of y. Turning keeps products: the
   gradient along x is that along y. */
void rms_rotate_backward(float *dx, const float *grad, const float *y, const float *scale,
                         const float *cosines, const float *sines, i64 tokens, i64 time, i64 groups,
                         i64 channels, int norm) {
#pragma omp parallel for schedule(static)
    for (i64 t = 0; t < tokens; t++) {
        i64 place = t % time * channels;
        for (i64 g = 0; g < groups; g++) {
            i64 at = (t * groups + g) * channels;
            float tilt = 0;
            if (norm) {
                vec along = {0};
                for (i64 i = 0; i < channels; i += LANES)
                    along += load(grad + at + i) * load(y + at + i);
                tilt = total(along) / channels;
            }
            for (i64 i = 0; i < channels; i += LANES) {
                vec part = (load(grad + at + i) - tilt * load(y + at + i)) * scale[t * groups + g];
                if (cosines)
                    part = turned(part, load(cosines + place + i), -load(sines + place + i));
                store(dx + at + i, part);
            }
        }
    }
}
