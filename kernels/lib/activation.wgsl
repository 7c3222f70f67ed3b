// Activations and their derivatives from the output, so that the input need not be kept. The constant ACTIVATION chooses; NEGATIVE is the
// slope of leaky ReLU and the α of ELU. Nothing overflows: exp is only taken of values ≤ 0. NaN stays NaN,
// found by its bits: a driver may assume that there is none, and one's exp makes a number of it.
// @const ACTIVATION: u32  which, as named below
// @const NEGATIVE: f32    slope of leaky ReLU, α of ELU
const RELU = 0u;
const LEAKY_RELU = 1u;
const ELU = 2u;
const TANH = 3u;
const SIGMOID = 4u;

fn activate(v: f32) -> f32 {
  if ((bitcast<u32>(v) & 0x7fffffffu) > 0x7f800000u) { return v; }
  switch ACTIVATION {
    case RELU: { return select(v, 0.0, v < 0.0); }
    case LEAKY_RELU: { return select(v, NEGATIVE * v, v < 0.0); }
    case ELU: { return select(v, NEGATIVE * exp_minus_one(min(v, 0.0)), v < 0.0); }
    case TANH: {
      let e = exp_minus_one(-2.0 * abs(v));
      return -sign(v) * e / (2.0 + e);
    }
    default: {
      let e = exp(-abs(v));
      return select(1.0, e, v < 0.0) / (1.0 + e);
    }
  }
}

// dy/dv where activate(v) = y.
fn activation_slope(y: f32) -> f32 {
  switch ACTIVATION {
    case RELU: { return select(0.0, 1.0, y > 0.0); }
    case LEAKY_RELU: { return select(NEGATIVE, 1.0, y > 0.0); }
    case ELU: { return select(y + NEGATIVE, 1.0, y > 0.0); }
    case TANH: { return 1.0 - y * y; }
    default: { return y * (1.0 - y); }
  }
}

// exp(v) − 1, which near 0 loses its digits; there the first terms of its series, to 5e-8.
fn exp_minus_one(v: f32) -> f32 {
  let series = v * (1.0 + v / 2.0 * (1.0 + v / 3.0 * (1.0 + v / 4.0 * (1.0 + v / 5.0 * (1.0 + v / 6.0)))));
  return select(exp(v) - 1.0, series, abs(v) < 0.25);
}
