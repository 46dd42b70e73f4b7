// mimi_activation (part of Mimi's kernels): the activation functions.
//
//     elu(x) = x where x > 0, else exp(x) - 1
//     gelu(x) = x (1 + erf(x / sqrt 2)) / 2
//
// Reference     mimi.activations; absolute error 3e-7. erf has the coefficients of mimi/erf.py

const NUMERATOR = array<f32, 7>(
    -2.72614225801306e-10, 2.77068142495902e-08, -2.10102402082508e-06, -5.69250639462346e-05,
    -7.34990630326855e-04, -2.95459980854025e-03, -1.60960333262415e-02,
);
const DENOMINATOR = array<f32, 5>(
    -1.45660718464996e-05, -2.13374055278905e-04, -1.68282697438203e-03, -7.37332916720468e-03, -1.42647390514189e-02,
);
const LOWEST_EXPONENT = -80.0;

fn elu(x: vec4<f32>) -> vec4<f32> {
    return select(exp(max(x, vec4<f32>(LOWEST_EXPONENT))) - 1.0, x, x > vec4<f32>());
}

fn erf(unbounded: vec4<f32>) -> vec4<f32> {
    let x = clamp(unbounded, vec4<f32>(-4.0), vec4<f32>(4.0));
    let square = x * x;
    let n = (((((NUMERATOR[0] * square + NUMERATOR[1]) * square + NUMERATOR[2]) * square + NUMERATOR[3]) * square
        + NUMERATOR[4]) * square + NUMERATOR[5]) * square + NUMERATOR[6];
    let d = (((DENOMINATOR[0] * square + DENOMINATOR[1]) * square + DENOMINATOR[2]) * square + DENOMINATOR[3]) * square
        + DENOMINATOR[4];
    return clamp(x * n / d, vec4<f32>(-1.0), vec4<f32>(1.0));
}

fn gelu(x: vec4<f32>) -> vec4<f32> {
    return 0.5 * x * (1.0 + erf(x * 0.70710678));
}
