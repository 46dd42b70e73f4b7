// argmax: the index of the largest logit, the lowest such index on a tie.
//
//     token = min { i : logits[i] = max(logits) }
//
// Bindings
//     0  logits  vec4<f32> (ceil(n / 4),)   read   what is past n means nothing
//     1  token   u32 (1,)                   read_write   written
// Constants   n; n_invocations, a power of two
// Dispatch    1 workgroup
// Requires    no NaN
// Twin        np.argmax(logits); equal

override n: u32;
override n_invocations: u32;

const LOWEST = -3.4028234e38;

@group(0) @binding(0) var<storage, read> logits: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read_write> token: u32;

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

fn best_of(quad: u32) -> Best {
    let logit = select(vec4<f32>(LOWEST), logits[quad], 4 * quad + vec4<u32>(0, 1, 2, 3) < vec4<u32>(n));
    return better(
        better(Best(logit.x, 4 * quad), Best(logit.y, 4 * quad + 1)),
        better(Best(logit.z, 4 * quad + 2), Best(logit.w, 4 * quad + 3)),
    );
}

@compute @workgroup_size(n_invocations)
fn main(@builtin(local_invocation_index) lane: u32) {
    // The last quad may be looked at more than once: it never beats itself. Four at a time: a GPU waits for them together.
    let last = (n - 1) / 4;
    var best = best_of(min(lane, last));
    for (var quad = lane; quad <= last; quad += 4 * n_invocations) {
        let a = better(best_of(quad), best_of(min(quad + n_invocations, last)));
        let b = better(best_of(min(quad + 2 * n_invocations, last)), best_of(min(quad + 3 * n_invocations, last)));
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
    }
}
