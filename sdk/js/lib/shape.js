// What an author hands over, looked at before it is used: a misspelt name that was passed over would be found out by
// a target that seems to be down, or by a password that is shown.

const SHAPES = {
  text: (value) => typeof value === 'string',
  'true or false': (value) => typeof value === 'boolean',
  'a number': (value) => typeof value === 'number',
  'a list': Array.isArray,
  'an object': (value) => typeof value === 'object' && value !== null && !Array.isArray(value),
  'a function': (value) => typeof value === 'function',
};

/** Throws unless `value` has all of `fields` (name to shape; `?` after the shape of one that may be left out) and no other. */
export function shaped(what, value, fields) {
  if (!SHAPES['an object'](value)) throw new TypeError(`${what} is ${kindOf(value)}, expected an object`);
  known(what, value, Object.keys(fields));
  for (const [name, field] of Object.entries(fields)) {
    const shape = field.replace('?', '');
    if (value[name] === undefined && shape === field) throw new TypeError(`${what}: \`${name}\` is missing, expected ${shape}`);
    if (value[name] !== undefined && !SHAPES[shape](value[name])) {
      throw new TypeError(`${what}: \`${name}\` is ${kindOf(value[name])}, expected ${shape}`);
    }
  }
}

/** Throws if `value` has a field beside the `names`. */
export function known(what, value, names) {
  for (const name of Object.keys(value)) {
    if (!names.includes(name)) throw new TypeError(`${what}: \`${name}\` is unknown, expected one of ${names.map((one) => `\`${one}\``).join(', ')}`);
  }
}

const kindOf = (value) => (value === null ? 'null' : Array.isArray(value) ? 'a list' : `of type ${typeof value}`);
