# network classes of one's own: Module, Neuron, Layer, MLP, parameters()
import random

from engine import Value


class Module:
    def parameters(self):
        return []

    def zero_grad(self):
        for p in self.parameters():
            p.grad = 0


class Neuron(Module):
    def __init__(self, nin, nonlin=True):
        self.w = [Value(random.uniform(-1, 1)) for _ in range(nin)]
        self.b = Value(0)
        self.nonlin = nonlin

    def __call__(self, inputs):
        total = self.b
        for weight, value in zip(self.w, inputs):
            total = total + weight * value
        return total.relu() if self.nonlin else total

    def parameters(self):
        return [*self.w, self.b]


class Layer(Module):
    def __init__(self, nin, nout, **options):
        self.neurons = []
        while len(self.neurons) < nout:
            self.neurons.append(Neuron(nin, **options))

    def __call__(self, inputs):
        outputs = [neuron(inputs) for neuron in self.neurons]
        if len(outputs) == 1:
            return outputs[0]
        return outputs

    def parameters(self):
        return sum((neuron.parameters() for neuron in self.neurons), [])


class MLP(Module):
    def __init__(self, nin, nouts):
        *hidden, last = zip([nin, *nouts], nouts)
        self.layers = [Layer(*shape) for shape in hidden] + [Layer(*last, nonlin=False)]

    def __call__(self, inputs):
        for layer in self.layers:
            inputs = layer(inputs)
        return inputs

    def parameters(self):
        return sum((layer.parameters() for layer in self.layers), [])


random.seed(1337)
model = MLP(3, [4, 4, 1])
print(len(model.parameters()), model.parameters()[7].data)
out = model([1.0, -2.0, 3.0])
out.backward()
print(out.data)
print([p.grad for p in model.parameters()])
model.zero_grad()
print({p.grad for p in model.parameters()}, len(set(model.parameters())))
