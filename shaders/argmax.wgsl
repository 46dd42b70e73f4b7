// argmax: the index of the largest logit; the lowest such index in case of a tie.
//
//     token = min { i : logits[i] = max(logits) }
//
// Bindings
//     0  logits  vec4<f32> (ceil(n / 4),)    read          elements past n are ignored
//     1  token   u32 (1,)                    read_write    written
//     2  result  u32 (1,)                    read_write    written: the same, kept when the next step replaces the token
// Constants     n; n_invocations, a power of two
// Dispatch      1 workgroup
// Requires      no NaN
// Reference     np.argmax(logits); exact

override n: u32;
override n_invocations: u32;

const LOWEST = -3.4028234e38;

@group(0) @binding(0) var<storage, read> logits: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read_write> token: u32;
@group(0) @binding(2) var<storage, read_write> result: u32;

struct Best {
    logit: f32,
    index: u32,
}

var<workgroup> partial: array<Best, n_invocations>;

fn better(a: Best, b: Best) -> Best {
    let b_wins = b.logit > a.logit || (b.logit == a.logit && b.index < a.index);
    if (b_wins) {
        return b;
    }
    return a;
}

fn best_of_vec4(i: u32) -> Best {
    let logit = select(vec4<f32>(LOWEST), logits[i], 4 * i + vec4<u32>(0, 1, 2, 3) < vec4<u32>(n));
    return better(
        better(Best(logit.x, 4 * i), Best(logit.y, 4 * i + 1)),
        better(Best(logit.z, 4 * i + 2), Best(logit.w, 4 * i + 3)),
    );
}

@compute @workgroup_size(n_invocations)
fn main(@builtin(local_invocation_index) lane: u32) {
    // Four vec4 groups at a time, so that their loads overlap. The last group may be read more than once, which changes
    // nothing: a logit never beats itself.
    let last = (n - 1) / 4;
    var best = best_of_vec4(min(lane, last));
    for (var i = lane; i <= last; i += 4 * n_invocations) {
        let a = better(best_of_vec4(i), best_of_vec4(min(i + n_invocations, last)));
        let b = better(best_of_vec4(min(i + 2 * n_invocations, last)), best_of_vec4(min(i + 3 * n_invocations, last)));
        best = better(best, better(a, b));
    }
    partial[lane] = best;
    for (var stride = n_invocations / 2; stride > 0; stride /= 2) {
        workgroupBarrier();
        if (lane < stride) {
            partial[lane] = better(partial[lane], partial[lane + stride]);
        }
    }
    if (lane == 0) {
        token = partial[0].index;
        result = partial[0].index;
    }
}
