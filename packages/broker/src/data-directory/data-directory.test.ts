import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { endpointUrl, removeEndpoints, writeEndpoints } from './endpoints.ts'

let directory: string
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'stathmos-directory-'))
})
afterEach(() => rmSync(directory, { recursive: true }))

test('the endpoints are written whole, name their process, and go with the broker', () => {
  writeEndpoints(directory, 42, { amqp: 'amqp://127.0.0.1:5672', http: 'http://127.0.0.1:15672' })
  expect(readFileSync(join(directory, 'endpoints.json'), 'utf8')).toBe(
    '{"pid":42,"amqp":"amqp://127.0.0.1:5672","http":"http://127.0.0.1:15672"}\n',
  )
  expect(readdirSync(directory)).toEqual(['endpoints.json'])
  removeEndpoints(directory)
  removeEndpoints(directory)
  expect(readdirSync(directory)).toEqual([])
})

test('an endpoint can be reached as it is written', () => {
  expect(endpointUrl('amqp', '127.0.0.1', 1)).toBe('amqp://127.0.0.1:1')
  expect(endpointUrl('amqp', '0.0.0.0', 1)).toBe('amqp://127.0.0.1:1')
  expect(endpointUrl('http', '::', 1)).toBe('http://[::1]:1')
})
