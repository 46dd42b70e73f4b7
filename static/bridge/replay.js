// Encodes dispatches into a compute pass: one call from Python instead of three for each of them.
// dispatches: arrays of [pipeline, bindGroup, nWorkgroups].
export function replay(pass, dispatches) {
  for (const [pipeline, bindGroup, nWorkgroups] of dispatches) {
    pass.setPipeline(pipeline);
    pass.setBindGroup(0, bindGroup);
    pass.dispatchWorkgroups(nWorkgroups);
  }
}
