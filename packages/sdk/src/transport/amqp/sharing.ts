/**
 * Which partitions a process gives up so that others get theirs: the last of those it has beyond its share.
 *
 * @param consumers how many processes read each partition, this one included
 * @param served whether this process is the one that gets the partition's messages, as far as it can know
 */
export function partitionsToLeave(consumers: readonly number[], served: readonly boolean[]): number[] {
  const processes = Math.max(...consumers)
  const share = Math.ceil(consumers.length / processes)
  const mine = served.flatMap((is, partition) => (is ? [partition] : []))
  // Where nobody waits, nobody is helped.
  return mine.slice(share).filter((partition) => consumers[partition]! > 1)
}
