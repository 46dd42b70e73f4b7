// mimi_quantize: one level of the split residual vector quantization of the projected latents.
//
//     centroid = codebook / usage
//     code[0] = argmax_e x . centroid[0, e] - |centroid[0, e]|^2 / 2, with x of the semantic projection
//     code[l] = the same with the residual of the acoustic projection, from which centroid[l, code[l]] is then subtracted
//
// The lowest index wins a tie. A dispatch for each level 0 .. n_codebooks: it finds the code of the level before among the
// candidates of its splits, then scores the entries of its own codebook, n_splits workgroups for each frame. One workgroup
// for all levels would read the codebooks with a single core of the GPU.
//
// Bindings
//     0  codebooks   (n_codebooks, width / 4, n_bins) of four elements    read    see mimi_codebook_*.wgsl; transposed,
//                                                                                 so that adjacent lanes read adjacent memory
//     1  norms       vec2<f32> (n_codebooks, n_bins)                      read    usage; |centroid|^2 / 2
//     2  projected   vec4<f32> (n_frames, 2, width / 4)                   read    semantic, acoustic
//     3  offsets     vec2<u32> (n_codebooks,)                             read    (column, offset): see codes
//     4  codes       u32 (n_frames, row_words)                            read_write    code + offset is written to the
//                                                                                 column of its codebook
//     5  level       u32                                                  read
//     6  residuals   vec4<f32> (2, max_frames, width / 4)                 read_write    of odd and even levels
//     7  candidates  Candidate (2, max_frames, n_splits)                  read_write    of odd and even levels
// Constants     n_codebooks, n_bins, width; row_words; max_frames; n_invocations, of which n_lanes share an entry; n_splits
// Dispatch      n_frames * n_splits workgroups
// Requires      width is a multiple of 4; n_invocations and n_lanes are powers of two
// Reference     mimi.quantizer.SplitQuantizer; exact but for near ties, whose scores differ by less than 1e-5 of the largest

override n_codebooks: u32;
override n_bins: u32;
override width: u32;
override row_words: u32;
override max_frames: u32;
override n_invocations: u32;
override n_lanes: u32;
override n_splits: u32;

const LOWEST = -3.4028234e38;

struct Candidate {
    score: f32,
    code: u32,
}

#include "mimi_codebook_{weights}.wgsl"

@group(0) @binding(1) var<storage, read> norms: array<vec2<f32>>;
@group(0) @binding(2) var<storage, read> projected: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> offsets: array<vec2<u32>>;
@group(0) @binding(4) var<storage, read_write> codes: array<u32>;
@group(0) @binding(5) var<storage, read> level: u32;
@group(0) @binding(6) var<storage, read_write> residuals: array<vec4<f32>>;
@group(0) @binding(7) var<storage, read_write> candidates: array<Candidate>;

override n_vec4s: u32 = width / 4;
override n_entries: u32 = n_invocations / n_lanes;  // scored at the same time
override n_per_split: u32 = (n_bins + n_splits - 1) / n_splits;

var<workgroup> residual: array<vec4<f32>, n_vec4s>;
var<workgroup> sums: array<f32, n_invocations>;
var<workgroup> best: array<Candidate, n_invocations>;

fn is_better(a: Candidate, b: Candidate) -> bool {
    return a.score > b.score || (a.score == b.score && a.code < b.code);
}

// The best of one candidate of each invocation.
fn best_of_all(mine: Candidate, local: u32) -> Candidate {
    best[local] = mine;
    for (var stride = n_invocations / 2; stride > 0; stride /= 2) {
        workgroupBarrier();
        if (local < stride && is_better(best[local + stride], best[local])) {
            best[local] = best[local + stride];
        }
    }
    workgroupBarrier();
    return best[0];
}

// The code of the level before.
fn code_before(frame: u32, half: u32, local: u32) -> u32 {
    var mine = Candidate(LOWEST, 0);
    for (var i = local; i < n_splits; i += n_invocations) {
        let other = candidates[((1 - half) * max_frames + frame) * n_splits + i];
        if (is_better(other, mine)) {
            mine = other;
        }
    }
    return best_of_all(mine, local).code;
}

// Elements 4i .. 4i + 3 of the residual of this level.
fn residual_at(frame: u32, half: u32, i: u32, code: u32) -> vec4<f32> {
    if (level < 2) {
        return projected[(2 * frame + level) * n_vec4s + i];
    }
    let centroid = codebook_vec4(((level - 1) * n_vec4s + i) * n_bins + code) / norms[(level - 1) * n_bins + code].x;
    return residuals[((1 - half) * max_frames + frame) * n_vec4s + i] - centroid;
}

@compute @workgroup_size(n_invocations)
fn main(@builtin(workgroup_id) workgroup_id: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let frame = workgroup_id.x / n_splits;
    let split = workgroup_id.x % n_splits;
    let half = level % 2;
    var code = 0u;
    if (level > 0) {
        code = code_before(frame, half, local);
        if (split == 0 && local == 0) {
            codes[frame * row_words + offsets[level - 1].x] = code + offsets[level - 1].y;
        }
    }
    if (level == n_codebooks) {
        return;
    }
    for (var i = local; i < n_vec4s; i += n_invocations) {
        residual[i] = residual_at(frame, half, i, code);
        if (split == 0) {
            residuals[(half * max_frames + frame) * n_vec4s + i] = residual[i];
        }
    }
    workgroupBarrier();

    let lane = local / n_entries;
    let end = min((split + 1) * n_per_split, n_bins);
    var mine = Candidate(LOWEST, 0);
    for (var start = split * n_per_split; start < end; start += n_entries) {
        let entry = start + local % n_entries;
        let column = level * n_vec4s * n_bins + min(entry, n_bins - 1);
        var sum = 0.0;
        for (var i = lane; i < n_vec4s; i += n_lanes) {
            sum += dot(residual[i], codebook_vec4(column + i * n_bins));
        }
        if (n_lanes > 1) {
            workgroupBarrier();  // the sums before these have been read
            sums[local] = sum;
            for (var stride = n_lanes / 2; stride > 0; stride /= 2) {
                workgroupBarrier();
                if (lane < stride) {
                    sums[local] += sums[local + stride * n_entries];
                }
            }
            sum = sums[local];
        }
        if (lane == 0 && entry < end) {
            let norm = norms[level * n_bins + entry];
            let found = Candidate(sum / norm.x - norm.y, entry);
            if (is_better(found, mine)) {
                mine = found;
            }
        }
    }
    mine = best_of_all(mine, local);
    if (local == 0) {
        candidates[(half * max_frames + frame) * n_splits + split] = mine;
    }
}
