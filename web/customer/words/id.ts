export default {
  x: 'x',
};
