import type { SqlValue } from './driver.ts'

/** A piece of SQL with the values that belong into it, in order: `texts` has one more than `values`. */
export interface Fragment {
  readonly texts: readonly string[]
  readonly values: readonly SqlValue[]
}

/** SQL as a template: what is put in is bound as a value, or inserted when it is a fragment. */
export function sql(strings: TemplateStringsArray, ...parts: readonly (SqlValue | Fragment)[]): Fragment {
  const texts: string[] = [strings[0]!]
  const values: SqlValue[] = []
  for (const [index, part] of parts.entries()) {
    const after = strings[index + 1]!
    if (isFragment(part)) {
      append(part, texts, values)
      texts[texts.length - 1] += after
    } else {
      values.push(part)
      texts.push(after)
    }
  }
  return { texts, values }
}

/** Text that is SQL already: names of tables and columns, expressions of a dialect. Never anything from outside. */
export function raw(text: string): Fragment {
  return { texts: [text], values: [] }
}

/** Fragments one after the other with SQL between them; `empty` stands for none at all. */
export function join(fragments: readonly Fragment[], separator: string, empty = ''): Fragment {
  if (fragments.length === 0) return raw(empty)
  const texts: string[] = ['']
  const values: SqlValue[] = []
  for (const [index, fragment] of fragments.entries()) {
    if (index > 0) texts[texts.length - 1] += separator
    append(fragment, texts, values)
  }
  return { texts, values }
}

/** A list of values for `in (…)`; one that nothing is in when it is empty. */
export function list(values: readonly SqlValue[]): Fragment {
  return sql`(${join(
    values.map((value) => sql`${value}`),
    ', ',
    'null',
  )})`
}

function append({ texts: more, values: bound }: Fragment, texts: string[], values: SqlValue[]): void {
  texts[texts.length - 1] += more[0]!
  for (let index = 0; index < bound.length; index++) {
    values.push(bound[index] ?? null)
    texts.push(more[index + 1]!)
  }
}

function isFragment(part: SqlValue | Fragment): part is Fragment {
  return typeof part === 'object' && part !== null && 'texts' in part
}
