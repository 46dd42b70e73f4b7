// mimi_output (part of mimi_output_*): what is done with the sums of a product.
//
//     value = activation(sum * vector + out) where scales, else activation(sum + vector + out); out where adds_out
//
// Bindings
//     2  out     vec4<f32> (n_rows, n / 4)    read_write    written; read before where adds_out
//     4  vector  vec4<f32> (n / 4,)           read          a bias, or a scale
// Constants     n; scales, adds_out; activation: 0 none, 1 elu, 2 gelu
// Reference     mimi.linear.Linear

override scales: u32;
override adds_out: u32;
override activation: u32;

@group(0) @binding(2) var<storage, read_write> out: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read> vector: array<vec4<f32>>;

fn finished(row: u32, column: u32, sum: vec4<f32>) -> vec4<f32> {
    let factor = vector[column / 4];
    var value = select(sum + factor, sum * factor, scales != 0);
    if (adds_out != 0) {
        value += out[(row * n + column) / 4];
    }
    if (activation == 1) {
        return elu(value);
    }
    if (activation == 2) {
        return gelu(value);
    }
    return value;
}
