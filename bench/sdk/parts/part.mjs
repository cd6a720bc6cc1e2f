// A process of a benchmark: it is told what to do, and answers, over the channel that `fork` opens.
//
// The parent's side is `startPart`, the child's is `serve`.
import { fork } from 'node:child_process'
import { once } from 'node:events'

/** A part that takes longer to end than this has hung. */
const END_MS = 30_000

/**
 * Starts a part. `part.ask(verb, argument)` resolves with what the part's verb returns, and rejects with what it throws.
 *
 * @param {URL} file a module that calls {@link serve}
 */
export function startPart(file) {
  const nodeArgs =
    process.env.BENCH_CPU_PROF === undefined ? [] : ['--cpu-prof', `--cpu-prof-dir=${process.env.BENCH_CPU_PROF}`]
  const child = fork(file, [], { execArgv: nodeArgs })
  const exited = once(child, 'exit')
  const open = new Map()
  let count = 0
  child.on('message', ({ id, result, error }) => {
    const asked = open.get(id)
    open.delete(id)
    if (error === undefined) asked?.resolve(result)
    else asked?.reject(new Error(error))
  })
  child.once('exit', (code, signal) => {
    for (const { reject } of open.values()) reject(new Error(`the part ${file.pathname} ended: ${code ?? signal}`))
    open.clear()
  })
  return {
    pid: child.pid,
    ask(verb, argument) {
      return new Promise((resolve, reject) => {
        const id = ++count
        open.set(id, { resolve, reject })
        child.send({ id, verb, argument }, (error) => error && reject(error))
      })
    },
    /** Has the part do its verb `end`, and waits until the process is gone. */
    async end() {
      if (child.exitCode !== null || child.signalCode !== null) return
      const timer = setTimeout(() => child.kill('SIGKILL'), END_MS)
      await this.ask('end').catch((error) => console.error(`  ${error.message}`))
      child.disconnect()
      await exited
      clearTimeout(timer)
    },
  }
}

/** Answers the parent with these functions; `end` is to leave nothing open. */
export function serve(verbs) {
  const answer = async ({ id, verb, argument }) => {
    try {
      process.send({ id, result: await verbs[verb](argument) })
    } catch (error) {
      process.send({ id, error: String(error?.stack ?? error) })
    }
  }
  process.on('message', (asked) => void answer(asked))
  // A parent that is gone needs no figures.
  process.once('disconnect', () => process.exit(0))
}

/** Time in ms that all processes of the machine share and that never goes back. */
export function sharedMs() {
  return Number(process.hrtime.bigint()) / 1e6
}
