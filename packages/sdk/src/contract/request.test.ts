import { describe, expect, expectTypeOf, test } from 'vitest'
import { z } from 'zod'
import type { Message } from '../message/message.ts'
import type { DataOf, ReceivedOf } from './contract.ts'
import { request } from './request.ts'
import type { DeclaredErrors, Payload, RequestContract } from './request-contract.ts'

const FindExpert = request('experts.find', {
  input: z.object({ skill: z.string() }),
  output: z.object({ expertId: z.string(), since: z.coerce.date<Date | string>() }),
  errors: { nobody: z.object({ nextFree: z.string() }), busy: z.null() },
})

test('a request carries what is asked, what is answered, and its errors', async () => {
  const asked = await FindExpert.encode({ skill: 'tv' })
  expect(asked).toMatchObject({ version: 1, key: null })
  const answered = await FindExpert.answer.encode({ expertId: 'e1', since: new Date(0) })
  expect(await FindExpert.answer.decode(answered)).toEqual({ expertId: 'e1', since: new Date(0) })
  const failed = await FindExpert.errors.nobody.encode({ nextFree: 'noon' })
  expect(await FindExpert.errors.nobody.decode(failed)).toEqual({ nextFree: 'noon' })
  expect(await FindExpert.errors.busy.decode(await FindExpert.errors.busy.encode(null))).toBeNull()
})

test('what is answered is validated on both sides', async () => {
  await expect(FindExpert.answer.encode({ expertId: 7 } as never)).rejects.toMatchObject({ code: 'invalid_data' })
  const { contentType, body } = await FindExpert.errors.busy.encode(null)
  await expect(FindExpert.answer.decode({ version: 1, contentType, body })).rejects.toThrow(
    /the answer of "experts.find" version 1/,
  )
})

test('an answer of a newer version is unknown', async () => {
  const answered = await FindExpert.answer.encode({ expertId: 'e1', since: new Date(0) })
  await expect(FindExpert.answer.decode({ ...answered, version: 2 })).rejects.toMatchObject({
    code: 'unknown_contract',
  })
})

test('what is asked has versions and a key, as with other contracts', async () => {
  const Next = FindExpert.key((d) => d.skill).next(z.object({ skills: z.array(z.string()) }), ({ skill }) => ({
    skills: [skill],
  }))
  const Keyed = Next.key((d) => d.skills.join())
  expect(await Keyed.encode({ skills: ['tv', 'radio'] })).toMatchObject({ version: 2, key: 'tv,radio' })
  const old = await FindExpert.encode({ skill: 'tv' })
  const message: Message = {
    ...old,
    id: '1',
    kind: 'request',
    type: 'experts.find',
    source: 'helpdesk',
    time: 0,
    keySeq: null,
    metadata: { correlationId: '1' },
  }
  expect(await Keyed.decode(message)).toEqual({ skills: ['tv'] })
  expect(Keyed.errors).toBe(FindExpert.errors)
})

test.each(['timeout', 'unreachable', 'overloaded', 'failed', '', 'no body', '1st'])(
  'no error can be declared as %j',
  (error) => {
    expect(() => request('a', { input: z.any(), output: z.any(), errors: { [error]: z.any() } })).toThrow(
      expect.objectContaining({ code: 'invalid_declaration' }),
    )
  },
)

describe('types', () => {
  const ask = <Name extends string, In, Out, AnswerIn, AnswerOut, E extends DeclaredErrors>(
    contract: RequestContract<Name, In, Out, AnswerIn, AnswerOut, E>,
    data: NoInfer<In>,
  ): { value: AnswerOut; errors: { [K in keyof E]: E[K] extends Payload<never, infer Got> ? Got : never } } =>
    ({ value: contract.answer, errors: contract.errors, data }) as never

  test('what is asked, answered and declared is inferred exactly', () => {
    expectTypeOf<DataOf<typeof FindExpert>>().toEqualTypeOf<{ skill: string }>()
    expectTypeOf<ReceivedOf<typeof FindExpert>>().toEqualTypeOf<{ skill: string }>()
    const answer = ask(FindExpert, { skill: 'tv' })
    expectTypeOf(answer.value).toEqualTypeOf<{ expertId: string; since: Date }>()
    expectTypeOf(answer.errors.nobody).toEqualTypeOf<{ nextFree: string }>()
    const Plain = request('a', { input: z.string(), output: z.string() })
    expectTypeOf(ask(Plain, 'x').value).toEqualTypeOf<string>()
  })

  test('misuses do not compile', () => {
    // @ts-expect-error a wrong question
    ask(FindExpert, { skill: 7 })
    // @ts-expect-error an error that is not declared
    void FindExpert.errors.gone
    expect(ask).toBeTypeOf('function')
  })
})
