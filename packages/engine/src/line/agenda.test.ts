import { simulate } from '@stathmos/testkit'
import { expect, test } from 'vitest'
import { Agenda, type Appointment } from './agenda.ts'

class Meeting implements Appointment {
  dueAtMs: number
  runs: number[] = []
  again: number = Number.POSITIVE_INFINITY

  constructor(dueAtMs: number) {
    this.dueAtMs = dueAtMs
  }

  run(nowMs: number): void {
    this.runs.push(nowMs)
    this.dueAtMs = this.again
    this.again = Number.POSITIVE_INFINITY
  }
}

function world() {
  const simulation = simulate({ seed: 1 })
  const errors: unknown[] = []
  const agenda = new Agenda(simulation.clock, (error) => errors.push(error))
  agenda.start()
  return { simulation, agenda, errors, now: simulation.nowMs }
}

test('each appointment is kept at its moment, whatever the order in which they were made', async () => {
  const { simulation, agenda, now } = world()
  const meetings = [30, 10, 20].map((after) => new Meeting(now + after))
  for (const meeting of meetings) agenda.set(meeting)
  await simulation.elapse(15)
  expect(meetings.map((meeting) => meeting.runs)).toEqual([[], [now + 10], []])
  await simulation.elapse(15)
  expect(meetings.map((meeting) => meeting.runs)).toEqual([[now + 30], [now + 10], [now + 20]])
})

test('an appointment that moves is kept once, at its new moment', async () => {
  const { simulation, agenda, now } = world()
  const meeting = new Meeting(now + 10)
  agenda.set(meeting)
  meeting.dueAtMs = now + 50
  agenda.set(meeting)
  meeting.dueAtMs = now + 30
  agenda.set(meeting)
  await simulation.elapse(100)
  expect(meeting.runs).toEqual([now + 30])
})

test('an appointment that is taken off, also by another one at the same moment, is not kept', async () => {
  const { simulation, agenda, now } = world()
  const gone = new Meeting(now + 10)
  agenda.set(gone)
  agenda.remove(gone)
  const cancelled = new Meeting(now + 20)
  const canceller = new Meeting(now + 20)
  canceller.run = (): void => {
    canceller.dueAtMs = cancelled.dueAtMs = Number.POSITIVE_INFINITY
    agenda.remove(cancelled)
  }
  agenda.set(canceller)
  agenda.set(cancelled)
  await simulation.elapse(100)
  expect([...gone.runs, ...cancelled.runs]).toEqual([])
})

test('one that is due again at its end is kept again, and does not keep the others from their turn', async () => {
  const { simulation, agenda, now } = world()
  const eager = new Meeting(now + 10)
  eager.again = now + 10
  const other = new Meeting(now + 10)
  agenda.set(eager)
  agenda.set(other)
  await simulation.elapse(10)
  expect(eager.runs).toEqual([now + 10, now + 10])
  expect(other.runs).toEqual([now + 10])
})

test('a moment further away than any timer reaches is kept', async () => {
  const { simulation, agenda, now } = world()
  const meeting = new Meeting(now + 40 * 24 * 3_600_000)
  agenda.set(meeting)
  await simulation.elapse(40 * 24 * 3_600_000)
  expect(meeting.runs).toEqual([now + 40 * 24 * 3_600_000])
})

test('nothing is run before the start, and what was due meanwhile right after it', async () => {
  const simulation = simulate({ seed: 1 })
  const agenda = new Agenda(simulation.clock, () => {})
  const meeting = new Meeting(simulation.nowMs + 5)
  agenda.set(meeting)
  await simulation.elapse(50)
  expect(meeting.runs).toEqual([])
  agenda.start()
  await simulation.elapse(1)
  expect(meeting.runs).toHaveLength(1)
})

test('nothing is run after the end', async () => {
  const { simulation, agenda, now } = world()
  const meeting = new Meeting(now + 5)
  agenda.set(meeting)
  agenda.close()
  await simulation.elapse(50)
  expect(meeting.runs).toEqual([])
})

test('a tick looks at the appointments that are due, not at all that wait', async () => {
  const { simulation, agenda, now } = world()
  let looks = 0
  const far: Appointment = {
    get dueAtMs() {
      looks++
      return now + 3_600_000
    },
    run: () => {},
  }
  for (let i = 0; i < 10_000; i++) agenda.set(Object.create(far) as Appointment)
  const before = looks
  const tick = new Meeting(now + 1)
  agenda.set(tick)
  for (let i = 0; i < 20; i++) {
    tick.again = now + 2 + i
    await simulation.elapse(1)
  }
  expect(tick.runs).toHaveLength(20)
  expect(looks).toBe(before)
})

test('an error of one is handed on', async () => {
  const { simulation, agenda, errors, now } = world()
  const broken = new Meeting(now + 1)
  broken.run = (): void => {
    throw new Error('broken')
  }
  agenda.set(broken)
  await simulation.elapse(2)
  expect(errors).toHaveLength(1)
})
