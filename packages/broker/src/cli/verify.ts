import { existsSync } from 'node:fs'
import { resolve } from 'node:path'
import {
  DirectoryInUseError,
  lockDirectory,
  nodeFiles,
  type Problem,
  type RepairReport,
  repairDirectory,
  verifyDirectory,
} from '@stathmos/engine'
import { systemClock } from '@stathmos/std'
import { holdsData } from '../data-directory/presence.ts'
import { EXIT } from './exit.ts'

/** Checks every byte of a data directory. Exit code 0: sound; 1: damaged, or it could not be looked at. */
export async function verify(directory: string): Promise<void> {
  await offline(directory, async (path) => {
    const report = await verifyDirectory(nodeFiles, path)
    const { files, frames, records, pages, entries, problems, torn } = report
    say(
      `${files} journal files, ${frames} frames, ${records} records, ${pages} index pages, ${entries} waiting messages`,
    )
    if (torn !== null) say(`a torn frame at the end of ${place(torn)}: never confirmed, the next start cuts it off`)
    if (problems.length === 0) {
      say('everything is as it was written')
      return
    }
    for (const problem of problems) say(`damaged: ${place(problem)}: ${problem.what}`)
    say(`${problems.length} problems; \`stathmos repair ${directory} --dry-run\` says what can be saved`)
    process.exitCode = EXIT.failure
  })
}

/** Makes a damaged data directory start again, or says what that would take. */
export async function repair(directory: string, { dryRun = false }: { readonly dryRun?: boolean }): Promise<void> {
  await offline(directory, async (path) => {
    const report = await repairDirectory(nodeFiles, path, { dryRun })
    if (report.problems.length === 0 && report.dropped.length === 0) {
      say('nothing is damaged; nothing was changed')
      return
    }
    sayReport(report, dryRun)
  })
}

function sayReport(report: RepairReport, dryRun: boolean): void {
  const { dropped, messagesKept, entriesKept, queuesMade, definitionsFrom, movedTo } = report
  for (const what of dropped) say(`${dryRun ? 'would drop' : 'dropped'}: ${what}`)
  say(`${dryRun ? 'would keep' : 'kept'} ${messagesKept} messages in ${entriesKept} places`)
  if (definitionsFrom !== null) {
    say(`users, vhosts, exchanges, queues and bindings are as ${definitionsFrom} and the journal tell`)
  }
  for (const name of queuesMade) say(`messages of a queue that nobody knows any more are in "${name}"`)
  if (dryRun) say('nothing was changed; without --dry-run it is')
  else if (movedTo !== null) say(`the original files are in ${movedTo}`)
}

/** Runs `work` while no broker has the directory and none can take it. */
async function offline(directory: string, work: (path: string) => Promise<void>): Promise<void> {
  const path = resolve(directory)
  // Anything else would be found without a fault, and made into a data directory by its lock.
  if (!holdsData(path)) {
    const what = existsSync(path) ? `${path} holds no data of a broker` : `there is no directory ${path}`
    process.stderr.write(`stathmos: ${what}; name the one that the broker was started with (--data-dir)\n`)
    process.exitCode = EXIT.failure
    return
  }
  try {
    const lock = await lockDirectory(path, systemClock)
    try {
      await work(path)
    } finally {
      await lock.release()
    }
  } catch (error) {
    if (!(error instanceof DirectoryInUseError)) throw error
    process.stderr.write(`stathmos: ${error.message}\n`)
    process.exitCode = EXIT.failure
  }
}

function place({ file, offset }: Problem): string {
  return `${file}, offset ${offset}`
}

function say(line: string): void {
  process.stdout.write(`${line}\n`)
}
