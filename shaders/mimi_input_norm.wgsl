// mimi_input_norm (part of mimi_product_*): the layer norm of the rows of x.
//
//     (x - mean) / sqrt(variance + 1e-5) * weight + bias
//
// Every workgroup computes the moments of its rows, which takes less time than a separate dispatch.
//
// Bindings
//     1  x     vec4<f32> (n_rows, k / 4)    read
//     5  norm  vec4<f32> (2, k / 4)         read    weight, bias
// Requires      `scratch` of at least n_invocations vec4<f32> in workgroup memory; n_block_rows, the rows of a workgroup,
//               divides n_invocations
// Reference     mimi.transformer.layer_norm; tolerance 1e-5 of the largest result

const EPSILON = 1e-5;

@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(5) var<storage, read> norm: array<vec4<f32>>;

override n_row_lanes: u32 = n_invocations / n_block_rows;

struct RowInput {
    row: u32,
    mean: f32,
    scale: f32,
}

// The sum over the lanes of a row.
fn sum_of_row(local: u32, value: f32) -> f32 {
    workgroupBarrier();
    scratch[local] = vec4<f32>(value);
    workgroupBarrier();
    let first = local / n_row_lanes * n_row_lanes;
    var sum = 0.0;
    for (var i = 0u; i < n_row_lanes; i++) {
        sum += scratch[first + i].x;
    }
    return sum;
}

// Leaves (mean, 1 / deviation) of the row `first` + i in scratch[i * n_row_lanes].
fn prepare_rows(first: u32, local: u32) {
    let row = min(first + local / n_row_lanes, n_rows() - 1) * (k / 4);
    var total = 0.0;
    for (var i = local % n_row_lanes; i < k / 4; i += n_row_lanes) {
        total += dot(x[row + i], vec4<f32>(1.0));
    }
    let mean = sum_of_row(local, total) / f32(k);
    var squares = 0.0;
    for (var i = local % n_row_lanes; i < k / 4; i += n_row_lanes) {
        let centred = x[row + i] - mean;
        squares += dot(centred, centred);
    }
    let variance = sum_of_row(local, squares) / f32(k);
    workgroupBarrier();
    scratch[local] = vec4<f32>(mean, 1.0 / sqrt(variance + EPSILON), 0.0, 0.0);
    workgroupBarrier();
}

fn row_input(row: u32, first: u32) -> RowInput {
    let moments = scratch[(row - first) * n_row_lanes];
    return RowInput(row, moments.x, moments.y);
}

fn input_vec4(row: RowInput, i: u32) -> vec4<f32> {
    return (x[row.row * (k / 4) + i] - row.mean) * row.scale * norm[i] + norm[k / 4 + i];
}
