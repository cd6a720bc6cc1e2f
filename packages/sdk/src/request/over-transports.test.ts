import { openEngine } from '@stathmos/engine'
import { MemoryFiles } from '@stathmos/testkit'
import { afterEach, describe, expect, test } from 'vitest'
import { z } from 'zod'
import { request } from '../contract/request.ts'
import { service, type Service } from '../service.ts'
import { memoryStore } from '../store/memory/memory-store.ts'
import { systemClock } from '../time/clock.ts'
import { embedded } from '../transport/embedded/index.ts'
import { memoryEngine } from '../transport/memory/index.ts'
import type { Transport } from '../transport/port.ts'

const FindExpert = request('experts.find', {
  input: z.object({ skill: z.string() }),
  output: z.object({ expertId: z.string() }),
  errors: { nobody: z.object({ nextFree: z.string() }) },
})

const engines: Readonly<Record<string, () => Promise<() => Transport>>> = {
  async memory() {
    const engine = memoryEngine()
    return () => engine.transport()
  },
  async embedded() {
    const limits = { reserveBytes: 0, diskFreeMin: 0 }
    const engine = await openEngine({ dataDir: '/data', files: new MemoryFiles(), limits })
    return () => embedded({ engine })
  },
}

describe.each(Object.entries(engines))('over %s', (_, open) => {
  const started: Service<unknown>[] = []
  afterEach(async () => {
    // Askers wait for their answers, so those who answer go last.
    for (const each of started.splice(0).toReversed()) await each.stop()
  })

  const make = (name: string, transport: Transport) =>
    service(name, { store: memoryStore({ clock: systemClock }), transport })

  async function begin(each: ReturnType<typeof make>): Promise<void> {
    await each.start()
    started.push(each as Service<unknown>)
  }

  test('values and declared errors come back, from whichever of the competing processes took the request', async () => {
    const transport = await open()
    const handled = new Set<string>()
    const all = new Set(Array.from({ length: 20 }, (__, i) => String(i)))
    for (const process of ['p1', 'p2']) {
      const experts = make('experts', transport())
      experts.answer(FindExpert, ({ skill }, { fail }) => {
        if (skill === 'none') return fail('nobody', { nextFree: process })
        handled.add(skill)
        return { expertId: `${skill} by ${process}` }
      })
      await begin(experts)
    }
    const desk = make('desk', transport())
    await begin(desk)
    const answers = await Promise.all([...all].map((skill) => desk.ask(FindExpert, { skill })))
    expect(answers.map((answer) => answer.ok && answer.value.expertId.split(' ')[0])).toEqual([...all])
    expect(handled).toEqual(all)
    expect(await desk.ask(FindExpert, { skill: 'none' })).toMatchObject({ ok: false, error: 'nobody' })
  })

  test('what nobody has ever declared to answer is unreachable, at once', async () => {
    const transport = await open()
    const desk = make('desk', transport())
    await begin(desk)
    expect(await desk.ask(FindExpert, { skill: 'tv' }, { timeout: '1h' })).toMatchObject({ error: 'unreachable' })
  })

  test('an asker that stops has its answer first', async () => {
    const transport = await open()
    const experts = make('experts', transport())
    let finish = (): void => {}
    const asked = new Promise<void>((resolve) => {
      experts.answer(FindExpert, async () => {
        await new Promise<void>((finished) => {
          finish = finished
          resolve()
        })
        return { expertId: 'e' }
      })
    })
    await begin(experts)
    const desk = make('desk', transport())
    await desk.start()
    const answer = desk.ask(FindExpert, { skill: 'tv' })
    await asked
    const stopped = desk.stop()
    finish()
    expect(await answer).toEqual({ ok: true, value: { expertId: 'e' } })
    await stopped
  })

  test('a request that a stopping answerer had not begun is handled by another', async () => {
    const transport = await open()
    const first = make('experts', transport())
    let finish = (): void => {}
    const began = new Promise<void>((resolve) => {
      first.answer(
        FindExpert,
        async () => {
          await new Promise<void>((finished) => {
            finish = finished
            resolve()
          })
          return { expertId: 'first' }
        },
        { concurrency: 1 },
      )
    })
    await first.start()
    const desk = make('desk', transport())
    await begin(desk)
    const answers = [desk.ask(FindExpert, { skill: '1' }), desk.ask(FindExpert, { skill: '2' })]
    await began
    const stopped = first.stop()
    const second = make('experts', transport()).answer(FindExpert, () => ({ expertId: 'second' }))
    await begin(second)
    finish()
    expect(await Promise.all(answers)).toEqual([
      { ok: true, value: { expertId: 'first' } },
      { ok: true, value: { expertId: 'second' } },
    ])
    await stopped
  })
})
