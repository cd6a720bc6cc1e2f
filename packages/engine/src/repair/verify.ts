import { TRANSIENT } from '../line/page.ts'
import { journalFileName } from '../storage/file-header.ts'
import type { Files } from '../storage/files.ts'
import { type DataImage, readDataDirectory } from './data-image.ts'
import type { Problem } from './journal-image.ts'

/** What a look at every byte of a data directory found. */
export interface VerifyReport {
  /** In the order of the files; empty: everything is as it was written, and a broker starts on it. */
  readonly problems: readonly Problem[]
  /** A frame that was being written when the broker died. It was never confirmed, and the next start cuts it off. */
  readonly torn: Problem | null
  readonly files: number
  readonly frames: number
  readonly records: number
  readonly pages: number
  /** Places of messages that wait in queues and schedules. */
  readonly entries: number
}

/**
 * Checks a data directory that no broker has open: the checksum of the checkpoint, of every frame and of every
 * index page, and that each entry of each queue and schedule points at a message that is there. Changes nothing.
 *
 * @throws what the disk says, and an error for a format of a newer version
 */
export async function verifyDirectory(files: Files, directory: string): Promise<VerifyReport> {
  const image = await readDataDirectory(files, directory)
  const problems = [...image.problems]
  let entries = 0
  for (const lost of danglingEntries(image)) {
    if (lost === null) entries++
    else problems.push({ file: fileOf(image, lost.position, directory), offset: 0, what: lost.what })
  }
  const { journal, counts } = image
  return { problems, torn: journal.torn, files: journal.files, ...counts, entries }
}

/** For every entry that should survive a restart: null, or what is wrong with its message. */
export function* danglingEntries({
  lines,
  names,
  records,
  checkpointLost,
}: DataImage): Iterable<{ position: number; what: string } | null> {
  for (const line of lines.values()) {
    const name = names.get(line.id)?.name
    if (name === undefined) continue
    for (const [seq, { position, size }] of line.live()) {
      if ((size & TRANSIENT) !== 0) continue
      const isThere = records.find(position) !== -1
      // Without the checkpoint nobody can tell a lost message from one that was settled long ago.
      if (!isThere && checkpointLost) continue
      const what = `entry ${seq} of ${name} refers to position ${position}, where no message is`
      yield isThere ? null : { position, what }
    }
  }
}

function fileOf({ checkpoint }: DataImage, position: number, directory: string): string {
  const row = checkpoint?.table.files.find(({ base, end }) => position >= base && position < end)
  return row === undefined
    ? `${directory}/journal`
    : `${directory}/journal/${journalFileName(row.number, row.generation)}`
}
