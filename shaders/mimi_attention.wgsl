// mimi_attention: the queries of a call over the KV cache.
//
//     weight[j] = exp(query . keys[j] - max) / sum of these, for the visible positions j
//     out = sum_j weight[j] * values[j]
//
// With p the position of the query and e the last position of its frame, j is visible iff e - context < j <= p: as in the
// official streaming encoder, which writes all keys of a frame before its first query attends.
//
// Bindings
//     0  call    see mimi_call.wgsl               read
//     1  query   vec4<f32> (n_rows, d / 4)        read          as written by mimi_output_qkv.wgsl
//     2  keys    vec4<f32> (n_slots, d / 4)       read
//     3  values  vec4<f32> (n_slots, d / 4)       read
//     4  out     vec4<f32> (n_rows, d / 4)        read_write    written
// Constants     n_heads; head_width = D; context; n_slots; rows_per_frame; n_invocations
// Dispatch      n_rows * n_heads workgroups
// Requires      n_slots >= context + n_rows; D is a multiple of 4; n_invocations is a power of two, at least D / 4
// Reference     mimi.transformer.attention; tolerance 1e-5 of the largest result

override n_heads: u32;
override head_width: u32;
override context: u32;
override n_slots: u32;
override rows_per_frame: u32;
override n_invocations: u32;

override n_columns: u32 = head_width / 4;
override n_parts: u32 = n_invocations / n_columns;  // invocations that share a column of the values

const LOWEST = -3.4028234e38;
const LOWEST_EXPONENT = -80.0;

#include "mimi_call.wgsl"

@group(0) @binding(0) var<storage, read> call: Call;
@group(0) @binding(1) var<storage, read> query: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> keys: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> values: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read_write> out: array<vec4<f32>>;

var<workgroup> weights: array<f32, context>;
var<workgroup> partial: array<vec4<f32>, n_invocations>;

@compute @workgroup_size(n_invocations)
fn main(@builtin(workgroup_id) workgroup_id: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let row = workgroup_id.x / n_heads;
    let head = workgroup_id.x % n_heads * n_columns;
    let width = n_heads * n_columns;
    let n_later = rows_per_frame - 1 - row % rows_per_frame;  // later positions of the same frame
    let n_keys = min(context - n_later, call.n_before + row + 1);
    let first_slot = call.slot + row + n_slots + 1 - n_keys;

    var highest = LOWEST;
    for (var j = local; j < n_keys; j += n_invocations) {
        let key = (first_slot + j) % n_slots * width + head;
        var score = 0.0;
        for (var i = 0u; i < n_columns; i++) {
            score += dot(query[row * width + head + i], keys[key + i]);
        }
        weights[j] = score;
        highest = max(highest, score);
    }
    partial[local] = vec4<f32>(highest);
    for (var stride = n_invocations / 2; stride > 0; stride /= 2) {
        workgroupBarrier();
        if (local < stride) {
            partial[local] = max(partial[local], partial[local + stride]);
        }
    }
    workgroupBarrier();
    highest = partial[0].x;
    for (var j = local; j < n_keys; j += n_invocations) {
        weights[j] = exp(max(weights[j] - highest, LOWEST_EXPONENT));
    }
    workgroupBarrier();

    var sum = vec4<f32>();
    var total = 0.0;
    let part = local / n_columns;
    if (part < n_parts) {
        for (var j = part; j < n_keys; j += n_parts) {
            let value = values[(first_slot + j) % n_slots * width + head + local % n_columns];
            sum += weights[j] * value;
            total += weights[j];
        }
    }
    partial[local] = sum;
    workgroupBarrier();
    if (local < n_columns) {
        for (var i = 1u; i < n_parts; i++) {
            sum += partial[i * n_columns + local];
        }
    }
    workgroupBarrier();
    partial[local] = vec4<f32>(total);
    workgroupBarrier();
    if (local < n_columns) {
        for (var i = 1u; i < n_parts; i++) {
            total += partial[i * n_columns].x;
        }
        out[row * width + head + local] = sum / total;
    }
}
