// argmax: the index of the largest logit, the lowest such index on a tie.
//
//     token = min { i : logits[i] = max(logits) }
//
// Bindings
//     0  logits  f32 (n,)   read
//     1  token   u32 (1,)   read_write   written
// Constants   n; n_invocations, a power of two
// Dispatch    1 workgroup
// Requires    no NaN
// Twin        np.argmax(logits); equal

override n: u32;
override n_invocations: u32;

@group(0) @binding(0) var<storage, read> logits: array<f32>;
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

@compute @workgroup_size(n_invocations)
fn main(@builtin(local_invocation_index) lane: u32) {
    // A lane past the end starts from element 0, which never beats itself.
    let first = select(0, lane, lane < n);
    var best = Best(logits[first], first);
    for (var i = lane; i < n; i += n_invocations) {
        best = better(best, Best(logits[i], i));
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
