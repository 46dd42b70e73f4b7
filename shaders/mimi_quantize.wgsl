// mimi_quantize: split residual vector quantization of the projected latents.
//
//     centroid = codebook / usage
//     code[0] = argmax_e x . centroid[0, e] - |centroid[0, e]|^2 / 2, with x of the semantic projection
//     code[l] = the same with the residual of the acoustic projection, from which centroid[l, code[l]] is then subtracted
//
// The lowest index wins a tie. One workgroup encodes a frame, codebook after codebook: a dispatch per codebook takes more
// time than it saves.
//
// Bindings
//     0  codebooks  (n_codebooks, width / 4, n_bins) of four elements    read    see mimi_codebook_*.wgsl; transposed,
//                                                                                so that adjacent lanes read adjacent memory
//     1  norms      vec2<f32> (n_codebooks, n_bins)                      read    usage; |centroid|^2 / 2
//     2  projected  vec4<f32> (n_frames, 2, width / 4)                   read    semantic, acoustic
//     3  offsets    vec2<u32> (n_codebooks,)                             read    (column, offset): see codes
//     4  codes      u32 (n_frames, row_words)                            read_write    code + offset is written to the
//                                                                                column of its codebook
// Constants     n_codebooks, n_bins, width; row_words; n_invocations
// Dispatch      n_frames workgroups
// Requires      width is a multiple of 4; n_invocations is a power of two
// Reference     mimi.quantizer.SplitQuantizer; exact but for near ties, whose scores differ by less than 1e-5 of the largest

override n_codebooks: u32;
override n_bins: u32;
override width: u32;
override row_words: u32;
override n_invocations: u32;

const LOWEST = -3.4028234e38;

#include "mimi_codebook_{weights}.wgsl"

@group(0) @binding(1) var<storage, read> norms: array<vec2<f32>>;
@group(0) @binding(2) var<storage, read> projected: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> offsets: array<vec2<u32>>;
@group(0) @binding(4) var<storage, read_write> codes: array<u32>;

override n_vec4s: u32 = width / 4;

var<workgroup> residual: array<vec4<f32>, n_vec4s>;
var<workgroup> scores: array<f32, n_invocations>;
var<workgroup> indices: array<u32, n_invocations>;

// Elements 4i .. 4i + 3 of four entries of a codebook; the last ones past the end.
fn load(codebook: u32, i: u32, entries: vec4<u32>) -> mat4x4<f32> {
    let row = (codebook * n_vec4s + min(i, n_vec4s - 1)) * n_bins;
    return mat4x4<f32>(
        codebook_vec4(row + entries.x), codebook_vec4(row + entries.y),
        codebook_vec4(row + entries.z), codebook_vec4(row + entries.w),
    );
}

fn residual_at(i: u32) -> vec4<f32> {
    return select(vec4<f32>(), residual[min(i, n_vec4s - 1)], i < n_vec4s);
}

// The scores of four entries of a codebook.
fn scores_of(codebook: u32, entries: vec4<u32>) -> vec4<f32> {
    var sums = vec4<f32>();
    // Four groups at a time, so that their loads overlap.
    for (var i = 0u; i < n_vec4s; i += 4u) {
        let a = load(codebook, i, entries);
        let b = load(codebook, i + 1, entries);
        let c = load(codebook, i + 2, entries);
        let d = load(codebook, i + 3, entries);
        sums += residual_at(i) * a + residual_at(i + 1) * b + residual_at(i + 2) * c + residual_at(i + 3) * d;
    }
    let first = codebook * n_bins;
    let a = norms[first + entries.x];
    let b = norms[first + entries.y];
    let c = norms[first + entries.z];
    let d = norms[first + entries.w];
    return sums / vec4<f32>(a.x, b.x, c.x, d.x) - vec4<f32>(a.y, b.y, c.y, d.y);
}

@compute @workgroup_size(n_invocations)
fn main(@builtin(workgroup_id) workgroup_id: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let frame = workgroup_id.x;
    for (var codebook = 0u; codebook < n_codebooks; codebook++) {
        if (codebook < 2) {
            for (var i = local; i < n_vec4s; i += n_invocations) {
                residual[i] = projected[(2 * frame + codebook) * n_vec4s + i];
            }
        }
        workgroupBarrier();

        var best = LOWEST;
        var index = 0u;
        for (var e = local; e < n_bins; e += 4 * n_invocations) {
            // Past the end, the last entry is scored again, which changes nothing: it never beats itself.
            let entries = min(e + n_invocations * vec4<u32>(0, 1, 2, 3), vec4<u32>(n_bins - 1));
            let found = scores_of(codebook, entries);
            for (var j = 0u; j < 4; j++) {
                if (found[j] > best || (found[j] == best && entries[j] < index)) {
                    best = found[j];
                    index = entries[j];
                }
            }
        }
        scores[local] = best;
        indices[local] = index;
        for (var stride = n_invocations / 2; stride > 0; stride /= 2) {
            workgroupBarrier();
            if (local < stride) {
                let other = scores[local + stride];
                if (other > scores[local] || (other == scores[local] && indices[local + stride] < indices[local])) {
                    scores[local] = other;
                    indices[local] = indices[local + stride];
                }
            }
        }
        workgroupBarrier();
        let code = indices[0];
        if (local == 0) {
            codes[frame * row_words + offsets[codebook].x] = code + offsets[codebook].y;
        }
        if (codebook > 0) {
            let usage = norms[codebook * n_bins + code].x;
            for (var i = local; i < n_vec4s; i += n_invocations) {
                residual[i] -= codebook_vec4((codebook * n_vec4s + i) * n_bins + code) / usage;
            }
        }
        workgroupBarrier();
    }
}
