using Microsoft.FSharp.Core;
using Optim.Core;
using Optim.Kernels;

namespace Optim.Distributed;

using PureStep = FSharpFunc<Parameters, FSharpFunc<Gradients, FSharpFunc<State, State>>>;

// Steps as functions, for those who have no optimizer.
public sealed partial class Sharded
{
    /// <summary>
    /// This rank's slices of parameters, from which its state is made; they share the memory of the parameters. Tensors that it does not step are there
    /// without elements, so that names and places are those of the whole.
    /// <code>let state = AdamW.init options (Sharded.Slices(world, plan, parameters))</code>
    /// </summary>
    /// <exception cref="ArgumentException">The plan is for other parameters, or for another number of ranks.</exception>
    /// <exception cref="WorldException">Another rank has another plan.</exception>
    public static Parameters Slices(World world, ShardPlan plan, Parameters parameters)
    {
        ArgumentNullException.ThrowIfNull(world);
        ArgumentNullException.ThrowIfNull(plan);
        ArgumentNullException.ThrowIfNull(parameters);
        world.Agree("slices", "the plan", plan.ToString().Split('\n'));
        return new FunctionalStep(world, plan, parameters).Slices;
    }

    /// <summary>
    /// A step of slices as one of whole parameters: the gradients that each rank gives are averaged over all, the step is called with this rank's slices of
    /// parameters and gradients and their state, and all ranks have the whole parameters afterwards. What surrounds a step (Step.run of the core) sees
    /// the norms of whole gradients.
    /// </summary>
    /// <param name="world">The ranks.</param>
    /// <param name="plan">Who steps what.</param>
    /// <param name="step">Steps slices, such as AdamWModule.step with options.</param>
    public static Func<Parameters, Gradients, State, T> Step<T>(World world, ShardPlan plan, Func<Parameters, Gradients, State, T> step)
    {
        ArgumentNullException.ThrowIfNull(world);
        ArgumentNullException.ThrowIfNull(plan);
        ArgumentNullException.ThrowIfNull(step);
        FunctionalStep? made = null;
        return (parameters, gradients, state) =>
        {
            ArgumentNullException.ThrowIfNull(parameters);
            ArgumentNullException.ThrowIfNull(gradients);
            made ??= new(world, plan, parameters);
            return made.Run(parameters, gradients, slices => step(slices.Parameters, slices.Gradients, state));
        };
    }

    /// <summary>
    /// The same in F#, curried: <c>Sharded.step world plan (AdamW.step options)</c> is a step of whole parameters, with the gradients of this rank and the
    /// state of its slices.
    /// </summary>
#pragma warning disable IDE1006 // as F# has functions
    public static FSharpFunc<World, FSharpFunc<ShardPlan, FSharpFunc<PureStep, PureStep>>> step { get; } =
        FuncConvert.FromFunc<World, ShardPlan, PureStep, PureStep>(
            (world, plan, step) =>
            {
                var whole = Step<State>(
                    world,
                    plan,
                    (parameters, gradients, state) => FSharpFunc<Parameters, Gradients>.InvokeFast(step, parameters, gradients, state)
                );
                return FuncConvert.FromFunc(whole);
            }
        );
#pragma warning restore IDE1006

    /// <summary>What is kept from step to step.</summary>
    private sealed class FunctionalStep
    {
        private readonly World world;
        private readonly ShardPlan plan;
        private readonly Section section;
        private readonly SharedTensor[] tensors;
        private readonly Gradient[] gradients;
        private readonly TensorView[] slices;

        public FunctionalStep(World world, ShardPlan plan, Parameters parameters)
        {
            (this.world, this.plan) = (world, plan);
            if (plan.Ranks != world.Size)
                throw new ArgumentException(
                    FormattableString.Invariant($"the plan is for {plan.Ranks} ranks, and the world has {world.Size}"),
                    nameof(plan)
                );
            Check(parameters);
            tensors = [.. Enumerable.Range(0, parameters.Count).Select(row => new SharedTensor(new GivenView(parameters[row])))];
            section = new(world, plan, tensors, world.Size, 25 << 20);
            gradients = new Gradient[tensors.Length];
            slices = new TensorView[tensors.Length];
            Slices = Core.Parameters.Over(slices, parameters.Names, parameters.Executor);
            if (world.Size > 1 && plan.Shard != Shard.None)
                (Slices.Slices, Slices.Totals) = (new SlicedSurvey(world, () => [tensors]), new RankTotals(world, tensors));
            Refresh();
        }

        public Parameters Slices { get; }

        public T Run<T>(Parameters parameters, Gradients given, Func<(Parameters Parameters, Gradients Gradients), T> step)
        {
            Check(parameters);
            if (given.Count != parameters.Count)
                throw new ArgumentException(
                    FormattableString.Invariant($"there are {given.Count} gradients for {parameters.Count} parameters"),
                    nameof(given)
                );
            for (var row = 0; row < tensors.Length; row++)
            {
                var view = (GivenView)tensors[row].Given;
                (view.Data, view.Gradient) = (parameters[row], given[row]);
            }
            world.Step++;
            section.Collect(0);
            Refresh();
            var result = step((Slices, Gradients.Over(gradients)));
            section.Publish();
            return result;
        }

        private void Refresh()
        {
            for (var row = 0; row < tensors.Length; row++)
                tensors[row].Refresh(ref slices[row], ref gradients[row]);
        }

        private void Check(Parameters parameters)
        {
            if (
                parameters.Count != plan.Tensors.Length
                || Enumerable.Range(0, parameters.Count).Any(row => !parameters[row].Layout.Equals(plan.Tensors[row].Layout))
            )
                throw new ArgumentException("the plan is for other parameters", nameof(plan));
        }
    }

    /// <summary>A tensor and its gradient of now.</summary>
    private sealed class GivenView(TensorView data) : IParameter
    {
        public string? Name => null;

        public TensorView Data { get; set; } = data;

        public Gradient Gradient { get; set; } = Gradient.Absent;

        public bool RequiresGradient => true;

        public object Identity => this;

        public Executor? Executor => null;

        public void Refresh(ref TensorView data, ref Gradient gradient) => (data, gradient) = (Data, Gradient);

        public void ZeroGradient(bool setToNone) => Gradient = Gradient.Absent;

        public void AfterStep() { }
    }
}
