using System.Globalization;
using Optim;

// The PyTorch-style loop over host arrays: logistic regression on two clouds of points, by hand-written gradients.
Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"loss {Loop.Train():F4}"));

/// <summary>The loop, as a method that the tests call.</summary>
public static class Loop
{
    /// <summary>Trains and returns the last loss.</summary>
    public static double Train()
    {
        var (weights, bias) = (new double[2], new double[1]);
        using var w = new Param("weight", weights);
        using var b = new Param("bias", bias);
        var optimizer = new AdamW([new ParameterGroup([w]), new ParameterGroup([b]) { ["weight_decay"] = 0 }], lr: 0.05, weightDecay: 0.01);

        var random = new Random(1);
        var points = Enumerable
            .Range(0, 200)
            .Select(i => (X: random.NextDouble() + i % 2, Y: random.NextDouble() - i % 2, Label: i % 2))
            .ToArray();
        var loss = 0.0;
        for (var step = 0; step < 300; step++)
        {
            optimizer.ZeroGrad();
            loss = 0;
            var gradW = w.Gradient<double>();
            var gradB = b.Gradient<double>();
            foreach (var (x, y, label) in points)
            {
                var p = 1 / (1 + Math.Exp(-(weights[0] * x + weights[1] * y + bias[0])));
                loss -= Math.Log(label == 1 ? p : 1 - p) / points.Length;
                gradW[0] += (p - label) * x / points.Length;
                gradW[1] += (p - label) * y / points.Length;
                gradB[0] += (p - label) / points.Length;
            }
            optimizer.Step();
        }
        return loss;
    }
}
