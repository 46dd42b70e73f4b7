// decode: selects the text token, and keeps its probability and the next most likely tokens.
//
//     token = argmax_i(logits[i] + bonus_i)              the lowest such i in case of a tie
//     log_probability_i = logits[i] - log sum_j exp(logits[j])
//
// The bonus comes from the vocabulary, a trie over tokens: the children of the stream's nodes are raised if their logit
// is within `min_logit` of the largest, or within `min_logit_within` inside of a word.
//
// Bindings
//     0  logits   vec4<f32> (ceil(n / 4),)    read          elements past n are ignored
//     1  decoded  Decoded (1,)                read_write    in: of the previous step; out: of this step
//     2  nodes    Node (>= 2,)                read          see lm/terms.py
//     3  result   Decoded (1,)                read_write    out: the same, kept when the next step replaces `decoded`
// Constants     n; n_invocations, a power of two; min_logit; min_logit_within; n_special
// Dispatch      1 workgroup
// Requires      no NaN; tokens of nodes are below n
// Reference     lm.decoding.decode; tokens and node exact, log probabilities to 1e-5 of the largest logit or 1e-5

override n: u32;
override n_invocations: u32;
override min_logit: f32;
override min_logit_within: f32;
override n_special: u32;

const LOWEST = -3.4028234e38;
const N_CANDIDATES = 4;
const ELSEWHERE = 1u;

struct Decoded {
    tokens: array<u32, N_CANDIDATES>,
    log_probabilities: array<f32, N_CANDIDATES>,
    node: u32,
}

struct Node {
    token: u32,
    bonus: f32,
    first: u32,
    n_children: u32,
    fallback: u32,
    gap: u32,
}

@group(0) @binding(0) var<storage, read> logits: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read_write> decoded: Decoded;
@group(0) @binding(2) var<storage, read> nodes: array<Node>;
@group(0) @binding(3) var<storage, read_write> result: Decoded;

struct Scored {
    logit: f32,
    index: u32,
}

// The most likely tokens of some logits, best first, and the sum of exp(logit - the largest).
struct Summary {
    best: array<Scored, N_CANDIDATES>,
    total: f32,
}

var<workgroup> partial: array<Summary, n_invocations>;
var<workgroup> raised_key: atomic<u32>;
var<workgroup> raised_token: atomic<u32>;

fn is_better(a: Scored, b: Scored) -> bool {
    return a.logit > b.logit || (a.logit == b.logit && a.index < b.index);
}

// exp(x) for x <= 0, without the undefined result of a very small x.
fn fraction(x: f32) -> f32 {
    return exp(max(x, -87.0));
}

// A logit at `index` was added to `summary`, whose `total` is already complete.
fn insert(summary: ptr<function, Summary>, logit: f32, index: u32) {
    var scored = Scored(logit, index);
    for (var k = 0; k < N_CANDIDATES; k++) {
        let before = (*summary).best[k];
        if (is_better(scored, before)) {
            (*summary).best[k] = scored;
            scored = before;
        }
    }
}

fn load(i: u32) -> vec4<f32> {
    let inside = logits[min(i, (n - 1) / 4)];
    return select(vec4<f32>(LOWEST), inside, 4 * i + vec4<u32>(0, 1, 2, 3) < vec4<u32>(n));
}

fn add_vec4(summary: ptr<function, Summary>, group: vec4<f32>, i: u32) {
    let before = (*summary).best[0].logit;
    let largest = max(before, max(max(group.x, group.y), max(group.z, group.w)));
    let is_inside = 4 * i + vec4<u32>(0, 1, 2, 3) < vec4<u32>(n);
    let parts = select(vec4<f32>(), exp(max(group - largest, vec4<f32>(-87.0))), is_inside);
    (*summary).total = (*summary).total * fraction(before - largest) + dot(parts, vec4<f32>(1.0));
    if (4 * i < n && max(max(group.x, group.y), max(group.z, group.w)) >= (*summary).best[N_CANDIDATES - 1].logit) {
        for (var j = 0u; j < 4 && 4 * i + j < n; j++) {
            insert(summary, group[j], 4 * i + j);
        }
    }
}

fn child_with(node: u32, token: u32) -> u32 {
    var low = nodes[node].first;
    var high = low + nodes[node].n_children;
    let end = high;
    while (low < high) {
        let middle = (low + high) / 2;
        if (nodes[middle].token < token) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return select(0u, low, low < end && nodes[low].token == token);  // no child is node 0
}

// TermTrie.advance
fn advance(node: u32, token: u32) -> u32 {
    let gap = nodes[node].gap;
    if (token < n_special) {
        return gap;
    }
    var start = node;
    for (var attempt = 0; attempt < 2; attempt++) {
        var suffix = start;
        loop {
            let child = child_with(suffix, token);
            if (child != 0) {
                return child;
            }
            if (nodes[suffix].fallback == suffix) {
                break;
            }
            suffix = nodes[suffix].fallback;
        }
        start = gap;
    }
    return ELSEWHERE;
}

// Floats in the order of unsigned integers.
fn key_of(x: f32) -> u32 {
    let bits = bitcast<u32>(x);
    return bits ^ select(0x80000000u, 0xffffffffu, bits >> 31 == 1);
}

fn logit_of(token: u32) -> f32 {
    return logits[token / 4][token % 4];
}

@compute @workgroup_size(n_invocations)
fn main(@builtin(local_invocation_index) lane: u32) {
    let node = advance(decoded.node, decoded.tokens[0]);

    // Four vec4 groups at a time, so that their loads overlap.
    var mine: Summary;
    for (var k = 0; k < N_CANDIDATES; k++) {
        mine.best[k] = Scored(LOWEST, 0xffffffffu);
    }
    for (var i = lane; 4 * i < n; i += 4 * n_invocations) {
        let a = load(i);
        let b = load(i + n_invocations);
        let c = load(i + 2 * n_invocations);
        let d = load(i + 3 * n_invocations);
        add_vec4(&mine, a, i);
        add_vec4(&mine, b, i + n_invocations);
        add_vec4(&mine, c, i + 2 * n_invocations);
        add_vec4(&mine, d, i + 3 * n_invocations);
    }
    partial[lane] = mine;
    for (var stride = n_invocations / 2; stride > 0; stride /= 2) {
        workgroupBarrier();
        if (lane < stride) {
            var sum = partial[lane];
            let other = partial[lane + stride];
            let largest = max(sum.best[0].logit, other.best[0].logit);
            sum.total = sum.total * fraction(sum.best[0].logit - largest)
                + other.total * fraction(other.best[0].logit - largest);
            for (var k = 0; k < N_CANDIDATES; k++) {
                insert(&sum, other.best[k].logit, other.best[k].index);
            }
            partial[lane] = sum;
        }
    }
    workgroupBarrier();

    // The best raised token: first its value, then the lowest token with that value.
    let largest = partial[0].best[0].logit;
    var raised = Scored(LOWEST, 0xffffffffu);
    var suffix = node;
    loop {
        let lowest = largest + select(min_logit_within, min_logit, nodes[suffix].gap == suffix);
        for (var c = lane; c < nodes[suffix].n_children; c += n_invocations) {
            let child = nodes[nodes[suffix].first + c];
            let logit = logit_of(child.token);
            let candidate = Scored(logit + child.bonus, child.token);
            if (logit >= lowest && is_better(candidate, raised)) {
                raised = candidate;
            }
        }
        if (nodes[suffix].fallback == suffix) {
            break;
        }
        suffix = nodes[suffix].fallback;
    }
    if (raised.index != 0xffffffffu) {
        atomicMax(&raised_key, key_of(raised.logit));
    }
    if (lane == 0) {
        atomicStore(&raised_token, 0xffffffffu);
    }
    workgroupBarrier();
    if (raised.index != 0xffffffffu && key_of(raised.logit) == atomicLoad(&raised_key)) {
        atomicMin(&raised_token, raised.index);
    }
    workgroupBarrier();

    if (lane == 0) {
        var summary = partial[0];
        var selected = summary.best[0];
        let token = atomicLoad(&raised_token);
        let key = atomicLoad(&raised_key);
        let best_key = key_of(selected.logit);
        if (token != 0xffffffffu && (key > best_key || (key == best_key && token < selected.index))) {
            selected = Scored(logit_of(token), token);
        }
        let log_total = log(summary.total);
        var out: Decoded;
        out.tokens[0] = selected.index;
        out.log_probabilities[0] = selected.logit - largest - log_total;
        out.node = node;
        var at = 0;
        for (var k = 0; k < N_CANDIDATES && at + 1 < N_CANDIDATES; k++) {
            if (summary.best[k].index != selected.index) {
                at += 1;
                // A model with fewer tokens repeats the selected one.
                let is_token = summary.best[k].index < n;
                out.tokens[at] = select(selected.index, summary.best[k].index, is_token);
                let logit = select(selected.logit, summary.best[k].logit, is_token);
                out.log_probabilities[at] = logit - largest - log_total;
            }
        }
        decoded = out;
        result = out;
    }
}
