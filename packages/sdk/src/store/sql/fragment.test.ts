import { array, assert, integer, property } from 'fast-check'
import { expect, test } from 'vitest'
import { join, list, raw, sql, type Fragment } from './fragment.ts'

const written = ({ texts, values }: Fragment): string =>
  texts.map((text, index) => text + (index < values.length ? `<${String(values[index])}>` : '')).join('')

test('values are bound in their order, and fragments take their values along', () => {
  const where = sql`a = ${1} and b = ${'x'}`
  expect(written(sql`select ${raw('c')} from t where ${where} limit ${5}`)).toBe(
    'select c from t where a = <1> and b = <x> limit <5>',
  )
})

test('a fragment without values is text', () => {
  expect(sql`a${raw('b')}c`).toEqual({ texts: ['abc'], values: [] })
})

test('null and bytes are values like others', () => {
  const bytes = new Uint8Array([1])
  expect(sql`${null}, ${bytes}`.values).toEqual([null, bytes])
})

test('a list of nothing is a list that nothing is in', () => {
  expect(written(sql`a in ${list([])}`)).toBe('a in (null)')
  expect(written(sql`a in ${list(['x', 2])}`)).toBe('a in (<x>, <2>)')
})

test('joined fragments keep all texts and values, whatever they are', () => {
  assert(
    property(array(array(integer())), (groups) => {
      const fragments = groups.map(
        (values) =>
          sql`(${join(
            values.map((value) => sql`${value}`),
            ',',
            'none',
          )})`,
      )
      expect(written(join(fragments, ' or ', 'nothing'))).toBe(
        groups.length === 0
          ? 'nothing'
          : groups.map((values) => `(${values.map((value) => `<${value}>`).join(',') || 'none'})`).join(' or '),
      )
    }),
  )
})
