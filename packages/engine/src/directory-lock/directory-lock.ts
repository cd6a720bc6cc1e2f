/**
 * One process per data directory, although Node has no file locks. Every process that wants the directory listens on
 * a socket of its own in `<data-dir>/lock/`, under a name that is never used twice; a socket that accepts proves that
 * its process lives, whatever container it is in, and one that refuses is what a killed process left behind.
 *
 * As in Lamport's bakery, nobody counts on being alone before everybody else was asked: first show the own socket, then
 * look at all others. Of two that start together, at least one sees the other. Whoever is asked answers with its
 * state and its process id:
 *
 *     trying ──(all others are gone, or came later and gave way)──▶ holding
 *
 * Who finds a holder gives way. Who finds another that is trying gives way to the smaller name, and waits for the larger
 * one to give way. Sockets of the dead are removed, which is safe because their names never come again.
 */
import { randomBytes } from 'node:crypto'
import { closeSync, mkdirSync, openSync, readdirSync, renameSync, rmSync } from 'node:fs'
import { connect, createServer, type Server } from 'node:net'
import { basename, join } from 'node:path'
import type { Clock } from '@stathmos/std'

/** The data directory is in use. `pid` is the holder's, as it sees itself (another container numbers otherwise). */
export class DirectoryInUseError extends Error {
  override readonly name = 'DirectoryInUseError'
  readonly pid: number

  constructor(directory: string, pid: number) {
    super(
      `the data directory ${directory} is in use by process ${pid}; stop that one or choose another with --data-dir`,
    )
    this.pid = pid
  }
}

export interface DirectoryLock {
  release(): Promise<void>
}

const SUFFIX = '.sock'

/** How often a process that starts at the same moment is asked whether it has given way. */
const ASK_AGAIN_MS = 5

/** How long a process may take to answer before it counts as a holder that is stopped or very busy. */
const ANSWER_MS = 2_000

/**
 * Takes the data directory for this process until it releases it or dies.
 *
 * @throws {DirectoryInUseError} when another process holds it
 */
export async function lockDirectory(directory: string, clock: Pick<Clock, 'after'>): Promise<DirectoryLock> {
  const home = join(directory, 'lock')
  makeHome(home)
  const road = shortRoad(home)
  const name = `${process.pid}-${randomBytes(6).toString('hex')}${SUFFIX}`
  let state = 'trying'
  const server = createServer((socket) => {
    socket.on('error', () => {})
    socket.end(`${state} ${process.pid}`)
  })
  const release = async (): Promise<void> => {
    rmSync(join(home, name), { force: true })
    await new Promise<void>((resolve) => server.close(() => resolve()))
  }
  try {
    // The name appears only once the socket listens; before, it would look like one of the dead.
    await listen(server, join(road.path, `${name}.new`))
    renameSync(join(home, `${name}.new`), join(home, name))
    server.unref()
    for (const other of readdirSync(home).filter((each) => each.endsWith(SUFFIX) && each !== name)) {
      const answer = await lastWord(join(road.path, other), name < other, clock)
      if (answer === 'dead') rmSync(join(home, other), { force: true })
      else if (answer !== 'gave way') throw new DirectoryInUseError(directory, answer.pid)
    }
    state = 'holding'
    return { release }
  } catch (error) {
    await release()
    throw error
  } finally {
    road.close()
  }
}

/** Makes the directory of the sockets. Not its parents: a path that was mistyped is not to be locked. */
function makeHome(home: string): void {
  try {
    mkdirSync(home, { mode: 0o700 })
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
  }
}

/** What another process says in the end: one that is trying is asked until it holds or is gone, if we come first. */
async function lastWord(
  path: string,
  weComeFirst: boolean,
  clock: Pick<Clock, 'after'>,
): Promise<'dead' | 'gave way' | { pid: number }> {
  for (let asked = 0; ; asked++) {
    const answer = await ask(path, clock)
    if (answer === null) return asked === 0 ? 'dead' : 'gave way'
    const [state, pid] = answer.split(' ')
    if (state === 'holding' || !weComeFirst) return { pid: Number(pid) }
    await new Promise<void>((resolve) => void clock.after(ASK_AGAIN_MS, resolve))
  }
}

/** The state and process id behind a socket; null when nobody is behind it any more. */
function ask(path: string, clock: Pick<Clock, 'after'>): Promise<string | null> {
  return new Promise((resolve, reject) => {
    let answer = ''
    const socket = connect({ path })
    // The kernel accepts for a process that is stopped: it lives and may go on at any time.
    const patience = clock.after(ANSWER_MS, () => {
      answer = `holding ${Number.parseInt(basename(path), 10)}`
      socket.destroy()
    })
    socket.on('data', (chunk) => (answer += chunk.toString()))
    socket.on('error', (error: NodeJS.ErrnoException) => {
      // Refused: nobody listens. Anything else (too many at once, no permission) proves nothing and must not look like death.
      if (!['ECONNREFUSED', 'ENOENT', 'ECONNRESET', 'EPIPE'].includes(error.code ?? '')) reject(error)
    })
    // One that closes without a word is on its way out.
    socket.on('close', () => {
      patience.cancel()
      resolve(answer === '' ? null : answer)
    })
  })
}

function listen(server: Server, path: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen({ path }, () => {
      server.off('error', reject)
      resolve()
    })
  })
}

/**
 * The directory by a path that is short: a socket's path has at most 107 bytes, a data directory's may have thousands.
 * Only Linux has such a path; elsewhere a long one fails with the operating system's message.
 */
function shortRoad(home: string): { path: string; close: () => void } {
  if (process.platform !== 'linux') return { path: home, close() {} }
  const descriptor = openSync(home, 'r')
  return { path: `/proc/self/fd/${descriptor}`, close: () => closeSync(descriptor) }
}
