// docs/errors.md has a row for every code that somebody outside can meet, and no other.
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { EngineError, type EngineErrorCode } from '@stathmos/engine'
import { expect, test } from 'vitest'
import { EXIT } from '../../packages/broker/src/cli/exit.ts'
import { refusalOf, replyText } from '../../packages/broker/src/protocols/amqp/errors.ts'
import { REPLY } from '../../packages/wire/src/amqp/index.ts'
import { root } from './sources.ts'

/** The rows of the table under a heading, without their code letters. */
function rowsUnder(heading: string, file = 'docs/errors.md'): string[][] {
  const page = readFileSync(join(root, file), 'utf8')
  const section = page.split(/^## /m).find((text) => text.startsWith(`${heading}\n`)) ?? ''
  const lines = section.split('\n').filter((line) => line.startsWith('|'))
  return lines.slice(2).map((line) =>
    line
      .split('|')
      .slice(1, -1)
      .map((cell) => cell.trim().replaceAll('`', '')),
  )
}

test('every code of the engine is a row, with the reply that an AMQP client gets', () => {
  const source = readFileSync(join(root, 'packages/engine/src/errors.ts'), 'utf8')
  const type = /export type EngineErrorCode =([\s\S]*?)\n\n/.exec(source)![1]!
  const codes = [...type.matchAll(/'(\w+)'/g)].map(([, code]) => code as EngineErrorCode)
  expect(codes.length).toBeGreaterThan(10)
  expect(rowsUnder('The engine').map((row) => [row[0], row[3]])).toEqual(
    codes.map((code) => [code, String(refusalOf(new EngineError(code, '')).code)]),
  )
})

test('every code of the SDK is a row, in its order', () => {
  const source = readFileSync(join(root, 'packages/sdk/src/errors.ts'), 'utf8')
  const type = /export type SdkErrorCode =([\s\S]*?)\n\n/.exec(source)![1]!
  const codes = [...type.matchAll(/'(\w+)'/g)].map(([, code]) => code)
  expect(codes.length).toBeGreaterThan(10)
  expect(rowsUnder('Codes', 'docs/sdk/errors.md').map(([code]) => code)).toEqual(codes)
})

test('every reply code of AMQP is a row, with its name', () => {
  expect(rowsUnder('AMQP').map((row) => [row[0], row[1]])).toEqual(
    Object.values(REPLY).map((code) => [String(code), replyText(code, '').replace(' - ', '')]),
  )
})

test('every exit code is a row', () => {
  expect(rowsUnder('The command line').map((row) => [row[0], row[1]])).toEqual(
    Object.entries(EXIT).map(([name, code]) => [String(code), name]),
  )
})
