/* Layer norm, and RMS norm with rotary positions, in float32, forward and backward. */

#include <math.h>

#include "kernels.h"
#include "vectors.h"

/* y (rows, channels) = (x - mean) * scale * weight + bias; bias may be null. `scale` is one over
   the standard deviation of each row. Without a place for means it is RMS norm: one over the root
   mean square, nothing taken off, no weight. Channels are a multiple of LANES. */
void layer_norm_forward(float *y, float *mean, float *scale, const float *x, const float *weight,
                        const float *bias, i64 rows, i64 channels, float eps) {
#pragma omp parallel for schedule(static) if (is_shared(rows * channels))
    for (i64 r = 0; r < rows; r++) {
        const float *in = x + r * channels;
        vec sum = {0}, squares = {0};
        if (mean)
            for (i64 i = 0; i < channels; i += LANES)
                sum += load(in + i);
        float middle = total(sum) / channels;
        for (i64 i = 0; i < channels; i += LANES) {
            vec off = load(in + i) - middle;
            squares += off * off;
        }
        float factor = 1 / sqrtf(total(squares) / channels + eps);
        for (i64 i = 0; i < channels; i += LANES) {
            vec out = (load(in + i) - middle) * factor;
            if (weight)
                out *= load(weight + i);
            if (bias)
                out += load(bias + i);
            store(y + r * channels + i, out);
        }
        if (mean)
            mean[r] = middle;
        scale[r] = factor;
    }
}

/* dx, with `through` added where that is not null, and what each of `parts` equal parts of the rows
   adds to the gradients of weight and bias: dweight and dbias (parts, channels). Null are what the
   forward pass had not. */
void layer_norm_backward(float *dx, float *dweight, float *dbias, const float *grad,
                         const float *through, const float *x, const float *weight,
                         const float *mean, const float *scale, i64 rows, i64 channels, i64 parts) {
#pragma omp parallel for schedule(static) if (is_shared(rows * channels))
    for (i64 p = 0; p < parts; p++) {
        float *dw = dweight ? dweight + p * channels : 0, *db = dbias ? dbias + p * channels : 0;
        for (i64 i = 0; i < channels; i += LANES) {
            if (dw)
                store(dw + i, (vec){0});
            if (db)
                store(db + i, (vec){0});
        }
        for (i64 r = rows * p / parts; r < rows * (p + 1) / parts; r++) {
            const float *in = x + r * channels, *above = grad + r * channels;
            float middle = mean ? mean[r] : 0, factor = scale[r];
            vec sum = {0}, along = {0};
            for (i64 i = 0; i < channels; i += LANES) {
                vec g = load(above + i), normal = (load(in + i) - middle) * factor, weighted = g;
                if (weight)
                    weighted *= load(weight + i);
                sum += weighted;
                along += weighted * normal;
                if (dw)
                    store(dw + i, load(dw + i) + g * normal);
                if (db)
                    store(db + i, load(db + i) + g);
            }
            float shift = mean ? total(sum) / channels : 0, tilt = total(along) / channels;
            for (i64 i = 0; i < channels; i += LANES) {
                vec normal = (load(in + i) - middle) * factor, weighted = load(above + i);
                if (weight)
                    weighted *= load(weight + i);
                vec below = (weighted - shift - normal * tilt) * factor;
                if (through)
                    below += load(through + r * channels + i);
                store(dx + r * channels + i, below);
            }
        }
    }
}

/* a + bi, c + di, ... times the unit complex numbers whose real parts, each twice, are `cosines` and
   whose imaginary parts, each twice and first negated, are `sines` */
static inline vec turned(vec x, vec cosines, vec sines) {
    return x * cosines + partners(x) * sines;
}

/* y (tokens, groups, channels) = x, its channels brought to the root mean square `rms` and turned by
   its position; `scale` (tokens, groups) is what it was multiplied with. Tokens of x are x_row floats
   apart, those of y y_row; both may be the same memory. With an `rms` of 0 x is only turned; without
   cosines only brought to scale. */
void rms_rotate_forward(float *y, i64 y_row, float *scale, const float *x, i64 x_row,
                        const float *cosines, const float *sines, i64 tokens, i64 time, i64 groups,
                        i64 channels, float eps, float rms) {
#pragma omp parallel for schedule(static) if (is_shared(tokens * groups * channels))
    for (i64 t = 0; t < tokens; t++) {
        i64 place = t % time * channels;
        for (i64 g = 0; g < groups; g++) {
            const float *in = x + t * x_row + g * channels;
            float *out = y + t * y_row + g * channels, factor = 1;
            if (rms) {
                vec squares = {0};
                for (i64 i = 0; i < channels; i += LANES)
                    squares += load(in + i) * load(in + i);
                factor = rms / sqrtf(total(squares) / channels + eps);
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

/* dx (tokens, groups, channels) from the gradient of y, whose memory it may be. Turning keeps
   products: the gradient along x is that along y, whose mean square is rms * rms. */
void rms_rotate_backward(float *dx, i64 dx_row, const float *grad, i64 grad_row, const float *y,
                         i64 y_row, const float *scale, const float *cosines, const float *sines,
                         i64 tokens, i64 time, i64 groups, i64 channels, float rms) {
#pragma omp parallel for schedule(static) if (is_shared(tokens * groups * channels))
    for (i64 t = 0; t < tokens; t++) {
        i64 place = t % time * channels;
        for (i64 g = 0; g < groups; g++) {
            const float *above = grad + t * grad_row + g * channels;
            const float *out = y + t * y_row + g * channels;
            float *below = dx + t * dx_row + g * channels, tilt = 0;
            if (rms) {
                vec along = {0};
                for (i64 i = 0; i < channels; i += LANES)
                    along += load(above + i) * load(out + i);
                tilt = total(along) / (channels * rms * rms);
            }
            for (i64 i = 0; i < channels; i += LANES) {
                vec part = (load(above + i) - tilt * load(out + i)) * scale[t * groups + g];
                if (cosines)
                    part = turned(part, load(cosines + place + i), -load(sines + place + i));
                store(below + i, part);
            }
        }
    }
}
